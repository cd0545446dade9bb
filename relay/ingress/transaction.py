"""Transaction: what is known of a message before its content, and how it goes to intake (RFC 5321 §3.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from relay.errors import Refusal, Rejected, StoreUnavailable
from relay.ingress.context import MessageIntake
from relay.ingress.faults import ClientGone, ClientTooSlow
from relay.ingress.parameters import MailCommand
from relay.intake.submission import Principal, Submission, Trace
from relay.model.address import Address
from relay.model.control import Controls
from relay.model.envelope import Envelope
from relay.model.message import QueueId, Source
from relay.model.reply import Reply

logger = logging.getLogger(__name__)

_NO_CONTROLS = Controls()
"""They stand in the header; one empty object for all messages, since making it costs as much as reading MAIL and RCPT."""


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA, or RSET."""

    principal: Principal
    mail: MailCommand
    recipients: dict[str, Address] = field(default_factory=dict)
    """By the address with its domain in lower case, so that each is there once; in their order."""

    def add(self, address: Address, limit: int) -> None:
        """One more recipient, or the same once more; Rejected beyond the limit."""
        local, _, domain = address.rpartition("@")
        key = f"{local}@{domain.lower()}"
        if len(self.recipients) >= limit and key not in self.recipients:
            raise Rejected(Refusal.TOO_MANY_RECIPIENTS)
        self.recipients.setdefault(key, address)

    def submission(self, content: AsyncIterator[bytes], trace: Trace) -> Submission:
        """What intake is handed."""
        mail = self.mail
        return Submission(
            source=Source.SMTP,
            principal=self.principal,
            envelope=Envelope(mail.sender, tuple(self.recipients.values()), mail.eight_bit, mail.smtputf8),
            content=content,
            trace=trace,
            controls=_NO_CONTROLS,
        )


async def submit(intake: MessageIntake, submission: Submission) -> QueueId | Reply:
    """Hand it to intake: the queue id, or why there is none. What was not foreseen is never the client's fault.

    ClientGone and ClientTooSlow pass through.
    """
    try:
        accepted = await intake.accept(submission)
    except Rejected as rejected:
        return rejected.reply
    except StoreUnavailable as fault:
        logger.warning("the store is not available: %s", fault)
        return Refusal.STORE_DOWN.reply()
    except (ClientGone, ClientTooSlow):
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        logger.exception("intake was cancelled from within")
        return Refusal.UNEXPECTED.reply()
    except Exception:
        logger.exception("unexpected error in intake, message from %s", submission.trace.peer)
        return Refusal.UNEXPECTED.reply()
    return accepted.id
