"""Connection: opened, secured and authenticated by aiosmtplib, then taken over by a dialogue of ours.

The account's mode says how it is protected, and that is how it is or it is not opened at all: what the server offers never
lowers it. Credentials go in clear only where the account's own mode is `none`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from time import monotonic
from typing import cast

import aiosmtplib

from relay.delivery.classify import foreign_reply, judge_error
from relay.delivery.dialogue import Dialogue
from relay.delivery.guard import Guard, NotPublic
from relay.delivery.timeouts import Timeouts
from relay.delivery.transcript import THEY, WE, Transcript
from relay.model.delivery import AccountFault, Category, Phase
from relay.model.tenant import Account, TlsMode

PoolKey = tuple[str, int, str, int, str]
"""What makes two connections interchangeable: the account, its version, host, port and TLS mode."""


def pool_key(account: Account) -> PoolKey:
    """The key of the connections that mail of this account may use."""
    return account.key, account.version, account.host, account.port, account.tls.value


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the server offered in answer to EHLO, as far as we use it; nothing after HELO."""

    pipelining: bool = False
    size: bool = False
    eight_bit: bool = False
    smtputf8: bool = False

    @classmethod
    def of(cls, offered: Iterable[str]) -> Extensions:
        """From the keywords."""
        names = {name.upper() for name in offered}
        return cls("PIPELINING" in names, "SIZE" in names, "8BITMIME" in names, "SMTPUTF8" in names)


@dataclass(slots=True, eq=False)
class Connection:
    """A connection ready for mail; `opened_at` in µs of the boot clock, set by the pool."""

    dialogue: Dialogue
    key: PoolKey
    extensions: Extensions
    peer: str
    tls: str | None
    """The protocol version, such as TLSv1.3."""
    max_messages: int
    opened_at: int = 0
    idle_until: int = 0
    messages: int = 0
    """Transactions begun on it."""


class ConnectFailed(Exception):
    """No connection: the account's fault or the way's."""

    def __init__(self, fault: AccountFault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class Connector:
    """Opens connections. `tls` replaces the context that trusts the system's authorities."""

    def __init__(
        self,
        *,
        ehlo_name: str,
        outbound_networks: Iterable[IPv4Network | IPv6Network] = (),
        tls: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self._ehlo_name = ehlo_name
        self._guard = Guard(outbound_networks)
        self._tls = tls or ssl.create_default_context()
        self._tls.minimum_version = max(self._tls.minimum_version, ssl.TLSVersion.TLSv1_2)

    async def connect(
        self, account: Account, timeouts: Timeouts | None = None, transcript: Transcript | None = None
    ) -> Connection:
        """A new connection; raises ConnectFailed with the phase reached and what was said there."""
        timeouts = timeouts or self.timeouts
        opening = _Opening(account, self._ehlo_name, self._tls, timeouts, transcript or Transcript())
        try:
            sock = await self._reach(account, timeouts.connect)
            return await opening.open(sock)
        except (aiosmtplib.SMTPException, OSError, NotPublic, UnicodeError) as error:
            fault = judge_error(error, opening.phase_of(error))
            if fault is None:
                raise
            raise ConnectFailed(fault) from None

    async def _reach(self, account: Account, patience: float) -> socket.socket:
        """A TCP connection to the very address that was checked: a name resolved twice may lead to two places."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(patience):
            found = await loop.getaddrinfo(account.host, account.port, type=socket.SOCK_STREAM)
            if account.guarded:
                self._guard.check(account.host, (str(address[0]) for *_, address in found))
            error = OSError(f"{account.host} has no address")
            for family, _, protocol, _, address in found:
                sock = socket.socket(family, socket.SOCK_STREAM, protocol)
                sock.setblocking(False)
                try:
                    async with asyncio.timeout(patience / len(found)):
                        await loop.sock_connect(sock, address)
                        return sock
                except OSError as refused:
                    sock.close()
                    error = refused
                except BaseException:
                    sock.close()
                    raise
            raise error


class _Opening:
    """One way from a TCP connection to a connection ready for mail; `phase` is how far it has come."""

    def __init__(
        self, account: Account, ehlo_name: str, tls: ssl.SSLContext, timeouts: Timeouts, transcript: Transcript
    ) -> None:
        self.phase = Phase.CONNECT
        self._transcript = transcript
        self._account = account
        self._ehlo_name = ehlo_name
        self._tls = tls
        self._timeouts = timeouts

    def phase_of(self, error: BaseException) -> Phase:
        """Where `error` belongs: with implicit TLS, the handshake and the greeting are one step of the library."""
        greeted = isinstance(error, aiosmtplib.SMTPConnectError) and (
            isinstance(error, aiosmtplib.SMTPResponseException) or isinstance(error.__cause__, aiosmtplib.SMTPException)
        )
        return Phase.CONNECT if greeted else self.phase

    async def open(self, sock: socket.socket) -> Connection:
        """Greeting, TLS, EHLO, AUTH; on any error the connection is closed."""
        account = self._account
        implicit = account.tls is TlsMode.IMPLICIT
        peer = sock.getpeername()[0]
        self._transcript.happened(f"connected to {peer}")
        client = aiosmtplib.SMTP(
            hostname=account.host,
            sock=sock,
            local_hostname=self._ehlo_name,
            timeout=None,  # ours instead, below: the library's wait_for may swallow a cancellation (Python 3.11)
            use_tls=implicit,
            start_tls=False,
            tls_context=self._tls,
        )
        if implicit:
            self.phase = Phase.TLS
        try:
            await self._step(client.connect())  # with the greeting
            await self._greet(client)
            if account.tls is TlsMode.STARTTLS:
                await self._secure(client)
                await self._greet(client)
            await self._authenticate(client)
            self._check_silence(client)
        except BaseException:
            client.close()
            raise
        return self._take_over(client, peer)

    async def _step(self, step: Coroutine[None, None, aiosmtplib.SMTPResponse], command: str = "") -> None:
        """One answer of the server; `command` as the transcript shows what the step says."""
        if command:
            self._transcript.add((monotonic(), WE, (command,)))
        try:
            async with asyncio.timeout(self._timeouts.greeting):
                response = await step
        except aiosmtplib.SMTPResponseException as refused:
            if (reply := foreign_reply(refused.code, refused.message)) is not None:
                self._transcript.add((monotonic(), THEY, (str(reply),)))
            raise
        if (reply := foreign_reply(response.code, response.message)) is not None:
            self._transcript.add((monotonic(), THEY, (str(reply),)))

    async def _instead(
        self, refused: Exception, step: Coroutine[None, None, aiosmtplib.SMTPResponse], command: str
    ) -> None:
        """Another way after a refusal; which is the server's last word where it has gone."""
        try:
            await self._step(step, command)
        except aiosmtplib.SMTPServerDisconnected:
            raise refused from None

    async def _greet(self, client: aiosmtplib.SMTP) -> None:
        """EHLO, or HELO for a server that knows no better (RFC 5321 §4.1.1.1)."""
        self.phase = Phase.EHLO
        try:
            await self._step(client.ehlo(), f"EHLO {self._ehlo_name}")
        except aiosmtplib.SMTPHeloError as refused:
            if not 500 <= refused.code <= 504:
                raise
            await self._instead(refused, client.helo(), f"HELO {self._ehlo_name}")

    async def _secure(self, client: aiosmtplib.SMTP) -> None:
        self.phase = Phase.TLS
        if not client.supports_extension("starttls"):
            fault = AccountFault(
                Category.TLS, Phase.TLS, None, "the server does not offer STARTTLS, which the account demands"
            )
            raise ConnectFailed(fault)
        await self._step(client.starttls(), "STARTTLS")

    async def _authenticate(self, client: aiosmtplib.SMTP) -> None:
        """PLAIN, else LOGIN. One try: a second one with the same password only brings a lock-out nearer."""
        account = self._account
        if account.user is None:
            return
        self.phase = Phase.AUTH
        if account.password is None:
            fault = AccountFault(
                Category.CONFIGURATION, Phase.AUTH, None, f"account {account.id} has a user but no password"
            )
            raise ConnectFailed(fault)
        offered = {method.lower() for method in client.server_auth_methods}
        if "plain" in offered:
            try:
                await self._step(client.auth_plain(account.user, account.password), "AUTH PLAIN ***")
            except aiosmtplib.SMTPAuthenticationError as refused:
                if refused.code != 504 or "login" not in offered:  # 504: offered, but not implemented (RFC 4954 §4)
                    raise
                await self._instead(refused, client.auth_login(account.user, account.password), "AUTH LOGIN ***")
        elif "login" in offered:
            await self._step(client.auth_login(account.user, account.password), "AUTH LOGIN ***")
        else:
            fault = AccountFault(Category.AUTH, Phase.AUTH, None, "the server offers neither AUTH PLAIN nor AUTH LOGIN")
            raise ConnectFailed(fault)

    def _check_silence(self, client: aiosmtplib.SMTP) -> None:
        """Nothing may be left in the library's hands: it would be lost, and what comes next be taken for something else."""
        if client.protocol is not None and client.protocol._buffer:  # noqa: SLF001  # it has no name for it in public
            detail = f"in {self.phase}: the server said more than it was asked"
            raise ConnectFailed(AccountFault(Category.PROTOCOL, self.phase, None, detail))

    def _take_over(self, client: aiosmtplib.SMTP, peer: str) -> Connection:
        """From here on the transport's bytes come to our protocol; nothing is awaited in between, so none is missed."""
        transport = cast("asyncio.Transport", client.transport)  # uvloop's are no subclass of it
        dialogue = Dialogue(transport)
        transport.set_protocol(dialogue)
        ssl_object = transport.get_extra_info("ssl_object")
        tls = ssl_object.version() if ssl_object is not None else None
        if tls is not None:
            self._transcript.happened(f"secured by {tls}")
        return Connection(
            dialogue,
            pool_key(self._account),
            Extensions.of(client.esmtp_extensions),
            peer,
            tls,
            self._account.max_messages_per_connection,
        )
