"""Session: what the commands of RFC 5321 mean at this door."""

# ruff: noqa: ARG002  # every command has an argument, whatever it makes of it

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from relay.errors import Refusal, Rejected
from relay.ingress.connection import Connection
from relay.ingress.context import DoorContext
from relay.ingress.data_reader import DataReader
from relay.ingress.faults import ProtocolError, no_argument
from relay.ingress.introduction import Introduction
from relay.ingress.parameters import MailCommand, parse_mail, parse_rcpt
from relay.ingress.transaction import Transaction, reply_to
from relay.ingress.trust import trace_of
from relay.intake.policy import check_sender
from relay.intake.submission import Principal
from relay.model.message import QueueId
from relay.model.reply import Reply

_OK = b"250 2.0.0 ok\r\n"
_SENDER_OK = b"250 2.1.0 sender ok\r\n"
_RECIPIENT_OK = b"250 2.1.5 recipient ok\r\n"
_START_DATA = b"354 end data with <CR><LF>.<CR><LF>\r\n"


class Session(Introduction):
    """A dialogue, with its mail transactions."""

    def __init__(
        self,
        context: DoorContext,
        peer: str,
        left: Callable[[Connection], None],
        *,
        loopback_listener: bool,
    ) -> None:
        super().__init__(context, peer, left, loopback_listener=loopback_listener)
        self._max_size = context.intake.max_size
        self._max_recipients = context.intake.max_recipients
        self._first_patience = context.pace.allowance(0, 0)

    # --- small talk ------------------------------------------------------------------------------------------------

    def rset(self, argument: str) -> bytes:
        """RFC 5321 §4.1.1.5."""
        no_argument("RSET", argument)
        self.count_junk()
        self._transaction = None
        return _OK

    def noop(self, argument: str) -> bytes:
        """RFC 5321 §4.1.1.9; its argument is ignored."""
        self.count_junk()
        return _OK

    def quit(self, argument: str) -> bytes:
        """RFC 5321 §4.1.1.10."""
        no_argument("QUIT", argument)
        self._open = False
        return b"221 2.0.0 bye\r\n"

    def vrfy(self, argument: str) -> bytes:
        """Tells nothing (RFC 5321 §7.3)."""
        if not argument:
            raise ProtocolError(501, "5.5.4", "syntax: VRFY <address>")
        self.count_junk()
        return b"252 2.5.0 cannot verify, but will accept the message and attempt delivery\r\n"

    def expn(self, argument: str) -> bytes:
        """Not offered."""
        raise ProtocolError(502, "5.5.1", "EXPN is not available")

    def help(self, argument: str) -> bytes:
        """What there is."""
        self.count_junk()
        return b"214 2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT; see RFC 5321\r\n"

    # --- a mail transaction ----------------------------------------------------------------------------------------

    def mail(self, argument: str) -> bytes:
        """RFC 5321 §4.1.1.2: who sends, by whose right, and whether there is room."""
        if not self._greeted_as:
            raise ProtocolError(503, "5.5.1", "send EHLO or HELO first")
        if self._transaction is not None:
            raise ProtocolError(503, "5.5.1", "a mail transaction is open already")
        try:  # first, since all else may have to ask a store that does not answer
            self._context.intake.check_admission()
        except Rejected as rejected:
            self._refuse(rejected.reply, None, "")
            raise
        principal = self._identity.known_principal()
        if principal is None:
            return self.leave(partial(self._ask_who, argument))
        return self._begin(argument, principal)

    async def _ask_who(self, argument: str) -> bytes:
        try:
            principal = await self._identity.principal()
            if principal is None:
                may_not_yet = not self._identity.may_authenticate(secure=self.tls_version is not None)
                raise Rejected(Refusal.STARTTLS_FIRST if may_not_yet and self._context.tls else Refusal.AUTH_REQUIRED)
        except Rejected as rejected:
            self._refuse(rejected.reply, None, "")
            raise
        return self._begin(argument, principal)

    def _begin(self, argument: str, principal: Principal) -> bytes:
        mail: MailCommand | None = None
        try:
            mail = parse_mail(argument, extended=self._extended)
            check_sender(principal, mail.sender)
            if mail.size is not None and mail.size > self._max_size:
                raise Rejected(Refusal.TOO_BIG, str(self._max_size))
        except Rejected as rejected:
            self._refuse(rejected.reply, principal, mail.sender if mail else "")
            raise
        self._transaction = Transaction(principal, mail)
        return _SENDER_OK

    def _refuse(self, reply: Reply, principal: Principal | None, sender: str) -> None:
        self._report(reply, principal, sender)
        if reply.code >= 500:  # how things stand here is not the client's fault
            self.count_junk()

    def rcpt(self, argument: str) -> bytes:
        """RFC 5321 §4.1.1.3. One that is named twice is answered twice, and gets the message once.

        Refusals count as nothing: the message of who names hundreds too many must still come to its end.
        """
        transaction = self._transaction
        if transaction is None:
            raise ProtocolError(503, "5.5.1", "send MAIL first")
        try:
            address = parse_rcpt(argument, extended=self._extended, utf8=transaction.mail.smtputf8)
            transaction.add(address, self._max_recipients)
        except Rejected as rejected:
            self._report(rejected.reply, transaction.principal, transaction.mail.sender)
            raise
        return _RECIPIENT_OK

    def data(self, argument: str) -> bytes:
        """RFC 5321 §4.1.1.4. The rest is left to the task, which need not begin before the first octets come."""
        if argument:
            no_argument("DATA", argument)
        transaction = self._transaction
        if transaction is None:
            raise ProtocolError(503, "5.5.1", "send MAIL first")
        if not transaction.recipients:
            raise ProtocolError(554, "5.5.1", "no valid recipients")
        self._in_message = True
        self._patience = self._first_patience
        self.leave(partial(self._take_in, transaction))
        return _START_DATA

    async def _take_in(self, transaction: Transaction) -> bytes:
        """The message is ours with the 250, and not before."""
        mail = transaction.mail
        content = DataReader(
            self._reader.buffer,
            self._wait,
            self._context.pace,
            waited=self.loop.time() - self._asked_at,
            max_size=self._max_size,
            bare_newlines=self._settings.bare_newlines,
        )
        trace = trace_of(
            self.peer,
            self._greeted_as,
            self.tls_version,
            extended=self._extended,
            utf8=mail.smtputf8,
            authenticated=self._identity.authenticated,
        )
        outcome: QueueId | Reply
        try:
            outcome = (await self._context.intake.accept(transaction.submission(content, trace))).id
        except (Exception, asyncio.CancelledError) as fault:
            outcome = reply_to(fault, self.peer)
        if content.lost is not None:
            raise content.lost
        if not content.ended and not await content.drain():
            self._open = False
        self._in_message = False
        self._patience = self._settings.command_timeout
        self._transaction = None
        if isinstance(outcome, Reply):
            self.reply(outcome)
            self._report(outcome, transaction.principal, mail.sender)
            return b""
        self._errors = self._junk = 0
        self._session_end = self.loop.time() + self._settings.session_timeout
        return f"250 2.0.0 queued as {outcome}\r\n".encode("ascii")

    def _report(self, reply: Reply, principal: Principal | None, sender: str) -> None:
        self._context.observer.message_rejected(self.peer, principal.name if principal else None, sender, reply)


Session.verbs = {
    b"AUTH": Session.auth,
    b"DATA": Session.data,
    b"EHLO": Session.ehlo,
    b"EXPN": Session.expn,
    b"HELO": Session.helo,
    b"HELP": Session.help,
    b"MAIL": Session.mail,
    b"NOOP": Session.noop,
    b"QUIT": Session.quit,
    b"RCPT": Session.rcpt,
    b"RSET": Session.rset,
    b"STARTTLS": Session.starttls,
    b"VRFY": Session.vrfy,
}
