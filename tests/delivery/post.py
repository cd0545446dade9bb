"""Makers of what a courier is handed: deliveries, accounts, contents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from relay.errors import NotFound
from relay.model.address import NULL_SENDER, Address
from relay.model.delivery import Attempt, LeasedDelivery, Verdict, delivery_id, new_recipients
from relay.model.message import Message, Priority, QueueId, Source
from relay.model.tenant import Account, AccountKind, TlsMode

CONTENT = b"From: a@sender.test\r\nSubject: hello\r\n\r\nA line.\r\n.\r\n..two dots\r\n"


def account_at(port: int, **changes: object) -> Account:
    """An account without TLS that points to loopback."""
    account = Account("acme", "main", AccountKind.SMTP, host="localhost", port=port, tls=TlsMode.NONE)
    return replace(account, **changes)  # type: ignore[arg-type]  # the names are checked by replace itself


def make_delivery(
    *recipients: str,
    content: bytes | None = CONTENT,
    size: int | None = None,
    sender: str = "a@sender.test",
    number: int = 1,
    eight_bit: bool = False,
    smtputf8: bool = False,
) -> LeasedDelivery:
    """A leased delivery; `content` None is streamed from the content store, with `size` octets."""
    queue_id = QueueId(f"Q{number}")
    message = Message(
        id=queue_id,
        tenant="acme",
        sender=Address(sender) if sender else NULL_SENDER,
        priority=Priority.MEDIUM,
        accepted_at=0,
        size=len(content) if content is not None else size or 0,
        message_id="<1@sender.test>",
        source=Source.SMTP,
        account="main",
        eight_bit=eight_bit,
        smtputf8=smtputf8,
    )
    addresses = tuple(Address(recipient) for recipient in recipients or ("b@receiver.test",))
    return LeasedDelivery(
        delivery_id(queue_id, 1), message, "acme/main/acme", 1, new_recipients(addresses), content, due=0
    )


def verdicts(attempt: Attempt) -> list[Verdict]:
    """By the recipients' order; an attempt without outcomes has none."""
    return [outcome.verdict for outcome in attempt.outcomes]


class Contents:
    """A content store that holds what a test puts in."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def read(self, message: QueueId) -> AsyncIterator[bytes]:
        if not self.pieces:
            raise NotFound(message)
        for piece in self.pieces:
            yield piece
