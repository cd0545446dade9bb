"""Transaction: what is known of a message before its content, and how it goes to intake (RFC 5321 §3.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from relay.errors import Refusal, Rejected, StoreUnavailable
from relay.ingress.faults import ClientGone, ClientTooSlow
from relay.ingress.parameters import MailCommand
from relay.intake.submission import Principal, Submission, Trace
from relay.model.address import Address
from relay.model.envelope import Envelope
from relay.model.message import Source
from relay.model.reply import Reply

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA, or RSET."""

    principal: Principal
    mail: MailCommand
    recipients: dict[str, Address] = field(default_factory=dict)
    """By the address with its domain in lower case, so that each is there once; in their order."""

    def add(self, address: Address, limit: int) -> None:
        """One more recipient, or the same once more; Rejected beyond the limit."""
        local, at, domain = address.rpartition("@")
        key = local + at + domain.lower()
        if key in self.recipients:
            return
        if len(self.recipients) >= limit:
            raise Rejected(Refusal.TOO_MANY_RECIPIENTS)
        self.recipients[key] = address

    def submission(self, content: AsyncIterator[bytes], trace: Trace) -> Submission:
        """What intake is handed."""
        mail = self.mail
        return Submission(
            source=Source.SMTP,
            principal=self.principal,
            envelope=Envelope(mail.sender, tuple(self.recipients.values()), mail.eight_bit, mail.smtputf8),
            content=content,
            trace=trace,
        )


def reply_to(fault: BaseException, peer: str) -> Reply:
    """What a client is told where intake failed: what was not foreseen is never its fault.

    Raised again: ClientGone, ClientTooSlow, and that the session itself is cancelled.
    """
    if isinstance(fault, Rejected):
        return fault.reply
    if isinstance(fault, StoreUnavailable):
        logger.warning("the store is not available: %s", fault)
        return Refusal.STORE_DOWN.reply()
    if isinstance(fault, (ClientGone, ClientTooSlow)):
        raise fault
    if isinstance(fault, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise fault
        logger.error("intake was cancelled from within", exc_info=fault)
    else:
        logger.error("unexpected error in intake, message from %s", peer, exc_info=fault)
    return Refusal.UNEXPECTED.reply()
