"""Introduction: how a client says who it is. Greeting, STARTTLS, AUTH."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable
from functools import partial

from relay.errors import Refusal, Rejected
from relay.ingress.command_loop import CommandLoop, check_ends
from relay.ingress.connection import Connection
from relay.ingress.context import DoorContext
from relay.ingress.faults import ProtocolError, no_argument
from relay.ingress.identity import Identity
from relay.ingress.sasl import LOGIN_PASSWORD, LOGIN_USERNAME, PLAIN_CHALLENGE, decode_response, split_plain
from relay.ingress.transaction import Transaction
from relay.ingress.trust import read_client_address

_NOT_A_HOST_NAME = re.compile(r"[^A-Za-z0-9.:\[\]_-]")
_NOT_A_USER_NAME = re.compile(r"[^A-Za-z0-9._@+-]")
_MAX_HELO = 255


class Introduction(CommandLoop):
    """What is known of the client; its transaction is forgotten where it begins anew."""

    def __init__(
        self,
        context: DoorContext,
        peer: str,
        left: Callable[[Connection], None],
        *,
        loopback_listener: bool,
    ) -> None:
        super().__init__(context, peer, left)
        client = read_client_address(peer)
        self._identity = Identity(context.authenticator, context.settings, client, loopback_listener=loopback_listener)
        self._greeted_as = ""
        self._extended = False
        self._transaction: Transaction | None = None

    def _set_rset_state(self) -> None:
        self._transaction = None

    # --- greeting --------------------------------------------------------------------------------------------------

    def helo(self, hostname: str) -> bytes:
        """RFC 5321 §4.1.1.1."""
        self._greet(hostname, extended=False)
        return b"250 %s\r\n" % self._settings.hostname.encode()

    def ehlo(self, hostname: str) -> bytes:
        """RFC 5321 §4.1.1.1; AUTH is named only where it would be taken."""
        self._greet(hostname, extended=True)
        lines = [
            b"250-%s" % self._settings.hostname.encode(),
            b"250-SIZE %d" % self._context.intake.max_size,
            b"250-PIPELINING",
            b"250-8BITMIME",
            b"250-SMTPUTF8",
        ]
        if self._context.tls is not None and self.tls_version is None:
            lines.append(b"250-STARTTLS")
        if self._identity.may_authenticate(secure=self.tls_version is not None):
            lines.append(b"250-AUTH PLAIN LOGIN")
        lines.append(b"250 ENHANCEDSTATUSCODES\r\n")
        return b"\r\n".join(lines)

    def _greet(self, hostname: str, *, extended: bool) -> None:
        if not hostname:
            raise ProtocolError(501, "5.5.4", "syntax: EHLO or HELO and the name of the client")
        if self._greeted_as:
            self.count_junk()
        # Legacy clients call themselves anything; nothing hangs on it, and it goes into Received and the log.
        self._greeted_as = _NOT_A_HOST_NAME.sub("?", hostname)[:_MAX_HELO]
        self._extended = extended
        self._transaction = None

    # --- TLS -------------------------------------------------------------------------------------------------------

    def starttls(self, argument: str) -> bytes:
        """RFC 3207. After it nothing counts that was said before."""
        no_argument("STARTTLS", argument)
        if self.tls_version is not None:
            raise ProtocolError(503, "5.5.1", "TLS is already active")
        if self._context.tls is None:
            raise ProtocolError(502, "5.5.1", "STARTTLS is not available")
        return self.leave(partial(self._secure, self._context.tls))

    async def _secure(self, tls: ssl.SSLContext) -> bytes:
        self.say(b"220 2.0.0 ready to start TLS\r\n")
        self._transaction = None
        self._greeted_as = ""
        self._extended = False
        self._identity.forget()
        await self._start_tls(tls)
        return b""

    # --- AUTH ------------------------------------------------------------------------------------------------------

    def auth(self, argument: str) -> bytes:
        """RFC 4954."""
        if not self._extended:
            raise ProtocolError(503, "5.5.1", "send EHLO first")
        if self._identity.authenticated:
            raise ProtocolError(503, "5.5.1", "already authenticated")
        if self._transaction is not None:
            raise ProtocolError(503, "5.5.1", "no AUTH within a mail transaction")
        if not self._identity.may_authenticate(secure=self.tls_version is not None):
            self.count_junk()
            raise Rejected(Refusal.TLS_REQUIRED)
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            return self.leave(partial(self._auth_plain, initial))
        if mechanism.upper() == "LOGIN":
            return self.leave(partial(self._auth_login, initial))
        raise ProtocolError(504, "5.5.4", "authentication mechanism not supported")

    async def _auth_plain(self, initial: str) -> bytes:
        username, secret = split_plain(await self._response(initial, PLAIN_CHALLENGE))
        return await self._prove(username, secret)

    async def _auth_login(self, initial: str) -> bytes:
        username = await self._response(initial, LOGIN_USERNAME)
        return await self._prove(username, await self._response("", LOGIN_PASSWORD))

    async def _prove(self, username: str, secret: str) -> bytes:
        if await self._identity.authenticate(username, secret):
            return b"235 2.7.0 authentication successful\r\n"
        self._context.observer.auth_failed(self.peer, _NOT_A_USER_NAME.sub("?", username[:128]))
        self.reply(Refusal.AUTH_FAILED.reply())
        if self._identity.failures >= self._settings.max_auth_failures:
            self.reply(Refusal.TOO_MANY_ERRORS.reply())
        return b""

    async def _response(self, initial: str, challenge: bytes) -> str:
        if initial:
            return decode_response(initial.encode())
        self.say(challenge)
        self._expect(self._patience)
        while (line := self._next_line()) is None:
            await self._more()
        self._deadline = math.inf
        check_ends(line)
        return decode_response(line[:-2])
