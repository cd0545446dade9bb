"""Session: what the commands of RFC 5321 mean at this door. Each is a coroutine named as aiosmtpd names it.

MAIL and RCPT, which mostly need not wait, are plain functions besides (relay.ingress.command_loop).
"""

# ruff: noqa: N802, ARG002  # names and arguments are aiosmtpd's

from __future__ import annotations

import re
from collections.abc import Callable

from relay.errors import Refusal, Rejected
from relay.ingress.command_loop import MAX_LINE, CommandLoop
from relay.ingress.connection import Connection
from relay.ingress.context import DoorContext
from relay.ingress.data_reader import DataReader
from relay.ingress.faults import ProtocolError
from relay.ingress.identity import Identity
from relay.ingress.parameters import MailCommand, parse_mail, parse_rcpt
from relay.ingress.sasl import LOGIN_PASSWORD, LOGIN_USERNAME, PLAIN_CHALLENGE, decode_response, split_plain
from relay.ingress.transaction import Transaction, submit
from relay.ingress.trust import read_client_address, trace_of
from relay.intake.policy import check_sender
from relay.intake.submission import Principal
from relay.model.reply import Reply

_OK = b"250 2.0.0 ok\r\n"
_SENDER_OK = b"250 2.1.0 sender ok\r\n"
_RECIPIENT_OK = b"250 2.1.5 recipient ok\r\n"
_START_DATA = b"354 end data with <CR><LF>.<CR><LF>\r\n"
_NOT_A_HOST_NAME = re.compile(r"[^A-Za-z0-9.:\[\]_-]")
_NOT_A_USER_NAME = re.compile(r"[^A-Za-z0-9._@+-]")
_MAX_HELO = 255


class Session(CommandLoop):
    """A dialogue: who the client is, and its transaction."""

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
        self._helo = ""
        self._extended = False
        self._transaction: Transaction | None = None

    def _set_rset_state(self) -> None:
        self._transaction = None

    # --- greeting and odds and ends --------------------------------------------------------------------------------

    async def smtp_HELO(self, hostname: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        self._greet(hostname, extended=False)
        self.say(b"250 %s\r\n" % self._settings.hostname.encode())

    async def smtp_EHLO(self, hostname: str | None) -> None:
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
        self.say(b"\r\n".join(lines))

    def _greet(self, hostname: str | None, *, extended: bool) -> None:
        if not hostname:
            raise ProtocolError(501, "5.5.4", "syntax: EHLO or HELO and the name of the client")
        if self._helo:
            self._junk += 1
        # Legacy clients call themselves anything; nothing hangs on it, and it goes into Received and the log.
        self._helo = _NOT_A_HOST_NAME.sub("?", hostname)[:_MAX_HELO]
        self._extended = extended
        self._transaction = None

    async def smtp_RSET(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.5."""
        _no_argument("RSET", arg)
        self._junk += 1
        self._transaction = None
        self.say(_OK)

    async def smtp_NOOP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.9; its argument is ignored."""
        self._junk += 1
        self.say(_OK)

    async def smtp_QUIT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.10."""
        _no_argument("QUIT", arg)
        self.say(b"221 2.0.0 bye\r\n")
        self._open = False

    async def smtp_VRFY(self, arg: str | None) -> None:
        """Tells nothing (RFC 5321 §7.3)."""
        if not arg:
            raise ProtocolError(501, "5.5.4", "syntax: VRFY <address>")
        self._junk += 1
        self.say(b"252 2.5.0 cannot verify, but will accept the message and attempt delivery\r\n")

    async def smtp_EXPN(self, arg: str | None) -> None:
        """Not offered."""
        raise ProtocolError(502, "5.5.1", "EXPN is not available")

    async def smtp_HELP(self, arg: str | None) -> None:
        """What there is."""
        self._junk += 1
        self.say(b"214 2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT; see RFC 5321\r\n")

    # --- TLS and AUTH ----------------------------------------------------------------------------------------------

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207. After it nothing counts that was said before."""
        _no_argument("STARTTLS", arg)
        if self.tls_version is not None:
            raise ProtocolError(503, "5.5.1", "TLS is already active")
        if self._context.tls is None:
            raise ProtocolError(502, "5.5.1", "STARTTLS is not available")
        self.say(b"220 2.0.0 ready to start TLS\r\n")
        self.flush()
        self._transaction = None
        self._helo = ""
        self._extended = False
        self._identity.forget()
        await self._start_tls(self._context.tls)

    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954."""
        if not self._extended:
            raise ProtocolError(503, "5.5.1", "send EHLO first")
        if self._identity.authenticated:
            raise ProtocolError(503, "5.5.1", "already authenticated")
        if self._transaction is not None:
            raise ProtocolError(503, "5.5.1", "no AUTH within a mail transaction")
        if not self._identity.may_authenticate(secure=self.tls_version is not None):
            self._junk += 1
            raise Rejected(Refusal.TLS_REQUIRED)
        mechanism, _, initial = (arg or "").partition(" ")
        if mechanism.upper() == "PLAIN":
            username, secret = split_plain(await self._response(initial, PLAIN_CHALLENGE))
        elif mechanism.upper() == "LOGIN":
            username = await self._response(initial, LOGIN_USERNAME)
            secret = await self._response("", LOGIN_PASSWORD)
        else:
            raise ProtocolError(504, "5.5.4", "authentication mechanism not supported")
        if await self._identity.authenticate(username, secret):
            self.say(b"235 2.7.0 authentication successful\r\n")
            return
        self._context.observer.auth_failed(self.peer, _NOT_A_USER_NAME.sub("?", username[:128]))
        self.reply(Refusal.AUTH_FAILED.reply())
        if self._identity.failures >= self._settings.max_auth_failures:
            self.reply(Refusal.TOO_MANY_ERRORS.reply())

    async def _response(self, initial: str, challenge: bytes) -> str:
        if initial:
            return decode_response(initial.encode())
        self.say(challenge)
        line = self._reader.take_line() or await self._next_line()
        if line[-2:] != b"\r\n" or len(line) > MAX_LINE:
            self._refuse_line(line)
        return decode_response(line[:-2])

    # --- a mail transaction ----------------------------------------------------------------------------------------

    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2: who sends, by whose right, and whether there is room."""
        self._check_room()  # first, since all else may have to ask a store that does not answer
        try:
            principal = await self._identity.principal()
        except Rejected as rejected:
            self._refuse(rejected.reply, None, "")
            raise
        self._begin(arg, principal)

    def _mail_quickly(self, arg: str | None) -> bool:
        if (principal := self._identity.known_principal()) is None:
            return False
        self._check_room()
        self._begin(arg, principal)
        return True

    def _check_room(self) -> None:
        """Whether a transaction may begin here and now, whoever the client is."""
        if not self._helo:
            raise ProtocolError(503, "5.5.1", "send EHLO or HELO first")
        if self._transaction is not None:
            raise ProtocolError(503, "5.5.1", "a mail transaction is open already")
        try:
            self._context.intake.check_admission()
        except Rejected as rejected:
            self._refuse(rejected.reply, None, "")
            raise

    def _begin(self, arg: str | None, principal: Principal | None) -> None:
        mail: MailCommand | None = None
        intake = self._context.intake
        try:
            if principal is None:
                first_tls = (
                    not self._identity.may_authenticate(secure=self.tls_version is not None) and self._context.tls
                )
                raise Rejected(Refusal.STARTTLS_FIRST if first_tls else Refusal.AUTH_REQUIRED)
            mail = parse_mail(arg or "", extended=self._extended)
            check_sender(principal, mail.sender)
            if mail.size is not None and mail.size > intake.max_size:
                raise Rejected(Refusal.TOO_BIG, str(intake.max_size))
        except Rejected as rejected:
            self._refuse(rejected.reply, principal, mail.sender if mail else "")
            raise
        self._transaction = Transaction(principal, mail)
        self.say(_SENDER_OK)

    def _refuse(self, reply: Reply, principal: Principal | None, sender: str) -> None:
        if reply.code >= 500:  # how things stand here is not the client's fault
            self._junk += 1
        self._report(reply, principal, sender)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3. One that is named twice is answered twice, and gets the message once."""
        self._add_recipient(arg)

    def _add_recipient(self, arg: str | None) -> bool:
        """Refusals count as nothing: the message of who names hundreds too many must still come to its end."""
        transaction = self._transaction
        if transaction is None:
            raise ProtocolError(503, "5.5.1", "send MAIL first")
        mail = transaction.mail
        try:
            address = parse_rcpt(arg or "", extended=self._extended, utf8=mail.smtputf8)
            transaction.add(address, self._context.intake.max_recipients)
        except Rejected as rejected:
            self._report(rejected.reply, transaction.principal, mail.sender)
            raise
        self.say(_RECIPIENT_OK)
        return True

    async def smtp_DATA(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.4. The message is ours with the 250, and not before."""
        _no_argument("DATA", arg)
        transaction = self._transaction
        if transaction is None:
            raise ProtocolError(503, "5.5.1", "send MAIL first")
        if not transaction.recipients:
            raise ProtocolError(554, "5.5.1", "no valid recipients")
        self.say(_START_DATA)
        self.flush()
        context = self._context
        content = DataReader(
            self._reader.buffer,
            self._wait,
            self.loop.time,
            context.pace,
            max_size=context.intake.max_size,
            bare_newlines=self._settings.bare_newlines,
        )
        self._in_message = True
        trace = trace_of(
            self.peer,
            self._helo,
            self.tls_version,
            extended=self._extended,
            utf8=transaction.mail.smtputf8,
            authenticated=self._identity.authenticated,
        )
        outcome = await submit(context.intake, transaction.submission(content, trace))
        if content.lost is not None:
            raise content.lost
        if not content.ended and not await content.drain():
            self._open = False
        self._in_message = False
        self._transaction = None
        if isinstance(outcome, Reply):
            self.reply(outcome)
            self._report(outcome, transaction.principal, transaction.mail.sender)
            return
        self.say(b"250 2.0.0 queued as %s\r\n" % outcome.encode("ascii"))
        self._errors = self._junk = 0
        self._idle_since = self.loop.time()

    def _report(self, reply: Reply, principal: Principal | None, sender: str) -> None:
        self._context.observer.message_rejected(self.peer, principal.name if principal else None, sender, reply)


def _no_argument(verb: str, arg: str | None) -> None:
    if arg:
        raise ProtocolError(501, "5.5.4", f"{verb} takes no argument")


Session.verbs = {
    name.removeprefix("smtp_").encode(): getattr(Session, name) for name in dir(Session) if name.startswith("smtp_")
}
Session.quick_verbs = {b"MAIL": Session._mail_quickly, b"RCPT": Session._add_recipient}  # noqa: SLF001 - its own
