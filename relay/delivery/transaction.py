"""Transaction: one mail over one connection, MAIL to the reply to the dot (RFC 5321 §3.3).

It knows at any moment how far it has come, because that decides what an accident means: before the dot the mail was
certainly not taken, after it nobody knows. With PIPELINING (RFC 2920) the envelope and DATA go in one write and the content
in a second: two round trips, however many recipients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from relay.contracts.content import ContentStore
from relay.delivery.classify import YES, Judgement, judge_break, judge_reply
from relay.delivery.connection import Connection
from relay.delivery.dialogue import ConnectionLost
from relay.delivery.replies import BadReply, Closing, DialogueError, Unasked
from relay.delivery.stuffing import DotStuffer, stuff_whole
from relay.delivery.timeouts import Timeouts
from relay.errors import LeaseRanOut, RelayError
from relay.model.delivery import AccountFault, Category, LeasedDelivery, Phase, RecipientOutcome, Verdict
from relay.model.message import Recipient
from relay.model.reply import Reply
from relay.model.reply_rule import ReplyRule

WHOLE = 64 * 1024
"""Content up to this many octets goes out in one write; larger content in slices of it."""

_CONTENT = frozenset({Phase.BODY, Phase.DOT})
_NO_SMTPUTF8 = Reply(550, "5.6.7", "the next hop does not offer SMTPUTF8, which this mail needs")


class WrongSize(RelayError):
    """The stored content is not what was accepted: it is not sent, since a mail cut short cannot be called back."""


class Transaction:
    """One use: `run()` once, then read what came of it.

    `outcomes` by the recipients' order; with a `fault`, the recipients without an outcome met it. `is_clean`: the connection
    may carry another mail. `is_stale`: it had ended before the server heard of this one, which deserves another connection.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: LeasedDelivery,
        contents: ContentStore,
        timeouts: Timeouts,
        rules: Sequence[ReplyRule] = (),
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_ours` says whether the delivery may be sent still: asked before the final dot, the point of no return."""
        self.outcomes: tuple[RecipientOutcome, ...] = ()
        self.fault: AccountFault | None = None
        self.is_clean = False
        self.is_stale = False
        self._dialogue = connection.dialogue
        self._extensions = connection.extensions
        self._delivery = delivery
        self._contents = contents
        self._timeouts = timeouts
        self._rules = rules
        self._is_ours = is_ours
        self._phase = Phase.MAIL
        self._heard = False
        self._told: dict[int, RecipientOutcome | None] = {}  # by position; None: met the fault
        self._accepted = 0

    async def run(self) -> None:
        """The whole transaction. Never raises for what the network does.

        Cancelled before the dot, it drops the connection and raises; after the dot it ends with UNKNOWN, or what the reply
        says that has come meanwhile, because an outcome that is known must not be lost.
        """
        try:
            self.is_clean = await self._converse()
        except Closing as closing:
            self._dialogue.abort()
            self.is_stale = not self._heard
            self._conclude(judge_reply(closing.reply, self._phase, self._rules), closing.reply)
        except DialogueError as error:
            self._dialogue.abort()
            self.is_stale = not self._heard and isinstance(error, ConnectionLost | Unasked)
            self._break_off(error, self._phase)
        except asyncio.CancelledError:
            self._dialogue.abort()
            if self._phase is not Phase.DOT and self._open():
                raise
            self._cut()
        except BaseException:
            self._dialogue.abort()
            raise
        told = self._told
        known = [outcome for one in self._delivery.recipients if (outcome := told[one.position]) is not None]
        self.outcomes = tuple(known)

    async def _converse(self) -> bool:
        """Envelope, content, verdict; answers whether the connection is fit for another mail."""
        smtputf8 = self._needs_smtputf8()
        recipients = self._open() if self._told else self._delivery.recipients
        if not recipients:
            return True
        envelope = (self._mail_command(smtputf8), *[f"RCPT TO:<{one.address}>" for one in recipients], "DATA")
        if self._extensions.pipelining:
            ready = await self._pipelined_envelope(envelope, recipients)
        else:
            ready = await self._stepwise_envelope(envelope, recipients)
        if not ready:
            return await self._reset()
        if not self._accepted:
            return await self._lone_dot()
        content = self._delivery.content
        if content is not None and self._delivery.message.size <= WHOLE:
            self._end_content(stuff_whole(content))
        else:
            await self._stream_content(content)
        reply = await self._dialogue.reply(self._timeouts.dot)
        self._conclude(judge_reply(reply, Phase.DOT, self._rules), reply)
        return reply.code in YES or (reply.code != 421 and (reply.is_transient or reply.is_permanent))

    # -- the envelope -------------------------------------------------------------------------------------------------

    def _needs_smtputf8(self) -> bool:
        """Whether MAIL asks for SMTPUTF8; where it is not offered, those who need it have failed already (RFC 6531 §3.2)."""
        message = self._delivery.message
        whole = message.smtputf8 or not message.sender.isascii()
        named = [recipient for recipient in self._delivery.recipients if whole or not recipient.address.isascii()]
        if not named or self._extensions.smtputf8:
            return bool(named)
        for recipient in named:
            self._record(recipient, Judgement(Verdict.FAILED, Category.CONTENT), _NO_SMTPUTF8)
        return False

    def _mail_command(self, smtputf8: bool) -> str:
        """MAIL with what was offered. 8-bit content goes as it is in any case: recoding it would break its signatures."""
        message, offered = self._delivery.message, self._extensions
        command = f"MAIL FROM:<{message.sender}>"
        if offered.size:
            command += f" SIZE={message.size}"
        if message.eight_bit and offered.eight_bit:
            command += " BODY=8BITMIME"
        if smtputf8:
            command += " SMTPUTF8"
        return command

    async def _pipelined_envelope(self, envelope: Sequence[str], recipients: Sequence[Recipient]) -> bool:
        """MAIL, every RCPT and DATA in one write; then their replies. True: the server waits for content."""
        dialogue, timeouts = self._dialogue, self._timeouts
        dialogue.command(envelope)
        self._hear_mail(await dialogue.reply(timeouts.mail))
        self._phase = Phase.RCPT
        for recipient in recipients:
            self._hear_rcpt(recipient, await dialogue.reply(timeouts.rcpt))
        self._phase = Phase.DATA
        return self._hear_data(await dialogue.reply(timeouts.data))

    async def _stepwise_envelope(self, envelope: Sequence[str], recipients: Sequence[Recipient]) -> bool:
        """The same, a round trip for each command."""
        dialogue, timeouts = self._dialogue, self._timeouts
        mail, *rcpts, data = envelope
        dialogue.command((mail,))
        if not self._hear_mail(await dialogue.reply(timeouts.mail)):
            return False
        self._phase = Phase.RCPT
        for recipient, rcpt in zip(recipients, rcpts, strict=True):
            dialogue.command((rcpt,))
            self._hear_rcpt(recipient, await dialogue.reply(timeouts.rcpt))
        if not self._accepted:
            return False
        self._phase = Phase.DATA
        dialogue.command((data,))
        return self._hear_data(await dialogue.reply(timeouts.data))

    def _hear_mail(self, reply: Reply) -> bool:
        """The reply to MAIL; a refusal is every recipient's."""
        if reply.code == 421:
            raise Closing(reply)
        self._heard = True
        if reply.code in YES:
            return True
        self._conclude(judge_reply(reply, Phase.MAIL, self._rules), reply)
        return False

    def _hear_rcpt(self, recipient: Recipient, reply: Reply) -> None:
        """The reply to a RCPT; after a refused MAIL it says nothing of the recipient (RFC 2920 §3.1)."""
        if reply.code == 421:
            raise Closing(reply)
        if recipient.position in self._told:
            return
        if reply.code in YES:
            self._accepted += 1
            return
        judgement = judge_reply(reply, Phase.RCPT, self._rules, others_accepted=self._accepted > 0)
        self._record(recipient, judgement, reply)

    def _hear_data(self, reply: Reply) -> bool:
        """354: content may come. Anything else is the answer to those accepted so far."""
        if reply.code == 421:
            raise Closing(reply)
        try:
            self._dialogue.check_silence()
        except BadReply:
            # With PIPELINING one reply too many may have come before any of these: then none of them means what it seems to.
            if self._extensions.pipelining:
                self._forget()
            raise
        except DialogueError:  # gone, or going: a refusal stands
            if reply.code == 354:
                raise
        if reply.code == 354:
            return True
        if not (reply.is_transient or reply.is_permanent):
            raise BadReply(f"answered DATA with {reply}")
        self._conclude(judge_reply(reply, Phase.DATA, self._rules), reply)
        return False

    # -- the content --------------------------------------------------------------------------------------------------

    async def _stream_content(self, content: bytes | None) -> None:
        self._phase = Phase.BODY
        stuffer = DotStuffer()
        if content is not None:
            await self._send_piece(content, stuffer)
        else:
            await self._send_stream(stuffer)
        self._end_content(stuffer.end())

    def _end_content(self, data: bytes) -> None:
        if not self._is_ours():
            raise LeaseRanOut("the lease ran out before the final dot, which was not sent")
        self._dialogue.end_content(data, f"[{self._delivery.message.size} octets]")
        self._phase = Phase.DOT

    async def _send_stream(self, stuffer: DotStuffer) -> None:
        message = self._delivery.message
        pieces = self._contents.read(message.id)
        size = 0
        try:
            async for piece in pieces:
                size += len(piece)
                await self._send_piece(piece, stuffer)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        if size != message.size:
            raise WrongSize(f"content of {message.id}: {size} octets stored, {message.size} accepted")

    async def _send_piece(self, piece: bytes, stuffer: DotStuffer) -> None:
        """In slices, each of which waits for the peer: no more than one of them is ever copied."""
        view = memoryview(piece)
        for begin in range(0, len(piece), WHOLE):
            await self._dialogue.stream(stuffer.stuff(bytes(view[begin : begin + WHOLE])), self._timeouts.body)

    async def _lone_dot(self) -> bool:
        """The server takes content although it took no recipient: an empty mail ends that (RFC 2920 §3.1)."""
        self._dialogue.end_content(b".\r\n", ".")
        reply = await self._dialogue.reply(self._timeouts.dot)
        return reply.code != 421 and (reply.is_transient or reply.is_permanent)

    async def _reset(self) -> bool:
        """RSET after an envelope that led nowhere. What the recipients were told stands, whatever becomes of it."""
        try:
            self._dialogue.command(("RSET",))
            return (await self._dialogue.reply(self._timeouts.reset)).is_positive
        except DialogueError:
            self._dialogue.abort()
            return False

    # -- what it means ------------------------------------------------------------------------------------------------

    def _open(self) -> list[Recipient]:
        """The recipients of whom nothing is known."""
        return [recipient for recipient in self._delivery.recipients if recipient.position not in self._told]

    def _record(self, recipient: Recipient, judgement: Judgement | AccountFault, reply: Reply) -> None:
        position = recipient.position
        if isinstance(judgement, AccountFault):
            self.fault = judgement
            self._told[position] = None
        else:
            self._told[position] = RecipientOutcome(
                position, judgement.verdict, reply, judgement.category, self._phase, judgement.asked
            )

    def _conclude(self, judgement: Judgement | AccountFault, reply: Reply) -> None:
        """One answer for every recipient without an outcome; where there is none, it is nobody's (RFC 2920 §3.1)."""
        for recipient in self._delivery.recipients:
            if recipient.position not in self._told:
                self._record(recipient, judgement, reply)

    def _break_off(self, error: DialogueError, phase: Phase) -> None:
        """The dialogue ended before its time: what that means for those without an outcome.

        A refusal before the end of the content was out speaks of the content all the same: the dot was never sent.
        """
        if isinstance(error, Unasked) and phase in _CONTENT and (error.reply.is_transient or error.reply.is_permanent):
            self._conclude(judge_reply(error.reply, Phase.DOT, self._rules), error.reply)
            return
        judgement, reply = judge_break(error, phase)
        self._dialogue.transcript.failed(reply.text)
        self._conclude(judgement, reply)

    def _forget(self) -> None:
        """Take back what replies out of step seemed to say."""
        self._told = {at: outcome for at, outcome in self._told.items() if outcome and outcome.reply is _NO_SMTPUTF8}
        self.fault = None

    def _cut(self) -> None:
        """Cancelled when there was something to tell already: tell it, and be done with the cancellation."""
        if (reply := self._dialogue.take_reply()) is not None:
            self._conclude(judge_reply(reply, Phase.DOT, self._rules), reply)
        self._break_off(ConnectionLost("attempt cut short"), Phase.DOT)
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
