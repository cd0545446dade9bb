"""Messages and their recipients, as the API shows them: accepted, acted on, as they stand. Times are RFC 3339 UTC.

Typed dictionaries and not pydantic models: an answer costs no validation, mypy checks it, and `openapi` describes it.
"""

from __future__ import annotations

from typing import Any, NotRequired

import orjson
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.contracts.archive import Acted, ActedOnAll
from relay.model.message import MessageDetail, Priority, Recipient
from relay.model.reply import Reply
from sidecar_api.problems import ProblemOut
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example

_RECIPIENT = {
    "address": "ann@example.net",
    "state": "sent",
    "reply": {"code": 250, "enhanced": "2.0.0", "text": "ok"},
    "category": None,
    "attempts": 1,
    "next_attempt_at": None,
    "changed_at": "2026-01-01T09:00:01Z",
}
_MESSAGE = {
    "id": "0mk5w8r1c2q7x",
    "tenant": "acme",
    "client_id": "invoice-2026-117",
    "state": "sent",
    "source": "rest",
    "sender": "billing@example.com",
    "message_id": "<0mk5w8r1c2q7x@relay.example.com>",
    "priority": "high",
    "batch": None,
    "account": "out",
    "tags": ["invoice"],
    "metadata": {"customer": 4711},
    "size": 2345,
    "accepted_at": "2026-01-01T09:00:00Z",
    "send_at": None,
    "expires_at": None,
    "suspended": False,
    "recipients": [_RECIPIENT],
}


@example({"code": 250, "enhanced": "2.0.0", "text": "ok"})
@exact
class ReplyOut(TypedDict):
    """An SMTP reply."""

    code: int
    enhanced: str | None
    text: str


@example({"address": "ann@example.net", "state": "queued"})
@exact
class RecipientState(TypedDict):
    """A recipient as it stood at submission."""

    address: str
    state: str


@example(
    {
        "id": "0mk5w8r1c2q7x",
        "client_id": "invoice-2026-117",
        "state": "open",
        "recipients": [{"address": "ann@example.net", "state": "queued"}],
    }
)
@exact
class SubmittedOut(TypedDict):
    """The answer to a submission, after the commit."""

    id: str
    replaces: NotRequired[str]
    """The message that had its client id and was still queued: this one takes its place, and that one is gone."""
    client_id: str | None
    state: str
    recipients: list[RecipientState]


@example(
    {
        "status": 202,
        "id": "0mk5w8r1c2q7x",
        "client_id": None,
        "state": "open",
        "recipients": [{"address": "ann@example.net", "state": "queued"}],
    }
)
@exact
class BatchItemOut(TypedDict):
    """What became of one message of a batch: `status` is 202, or that of `problem`."""

    status: int
    replayed: NotRequired[bool]
    replaces: NotRequired[str]
    id: NotRequired[str]
    client_id: NotRequired[str | None]
    state: NotRequired[str]
    recipients: NotRequired[list[RecipientState]]
    problem: NotRequired[ProblemOut]


@example(
    {
        "accepted": 1,
        "items": [
            {
                "status": 202,
                "id": "0mk5w8r1c2q7x",
                "client_id": None,
                "state": "open",
                "recipients": [{"address": "ann@example.net", "state": "queued"}],
            }
        ],
    }
)
@exact
class BatchOut(TypedDict):
    """One item for each message, in their order."""

    accepted: int
    items: list[BatchItemOut]


@example(_RECIPIENT)
@exact
class RecipientOut(TypedDict):
    """A recipient as it stands."""

    address: str
    state: str
    """`queued`, `deferred`, `held`, `sent`, `failed`, `expired`, `cancelled`, `suppressed`, `unknown` or `captured`."""
    reply: ReplyOut | None
    """The last one, of the next hop."""
    category: str | None
    """Why it was refused or put off, in a word."""
    attempts: int
    """That were counted."""
    next_attempt_at: str | None
    """When it is due again."""
    changed_at: str | None
    """When its state was last changed."""


@example(_MESSAGE)
@exact
class MessageOut(TypedDict):
    """A message: its facts and its recipients."""

    id: str
    """The queue id: in the log, in `X-Stagepost-ID`, and here."""
    tenant: str
    client_id: str | None
    state: str
    """Follows from its recipients: `preparing`, `open`, `held`, `sent`, `partial`, `failed`, `cancelled` or `captured`."""
    source: str
    """The door by which it came."""
    sender: str
    """The reverse-path."""
    message_id: str
    """The header field Message-ID."""
    priority: str
    batch: str | None
    account: str
    tags: list[str]
    metadata: dict[str, Any] | None
    size: int
    """Octets."""
    accepted_at: str
    send_at: str | None
    """Not before."""
    expires_at: str | None
    """Not after."""
    suspended: bool
    """It waits until its tenant or batch is resumed."""
    recipients: list[RecipientOut]


@example({**_MESSAGE, "concerned": 1, "under_way": 0})
@exact
class ActedOut(MessageOut):
    """The message as it stands now, and what was done to it."""

    concerned: int
    """To how many recipients."""
    under_way: int
    """How many were left alone because they are being attempted at this moment."""


@example({"matched": 4711, "changed": 4700, "skipped": {"under_way": 11}, "next_cursor": None})
@exact
class BulkOut(TypedDict):
    """What was done, or would be, to the messages that the filter finds."""

    matched: int
    changed: int
    skipped: dict[str, int]
    """How many were left alone, by reason: `under_way` (being attempted), `nothing` (no recipient is in a state for it),
    `open` (not closed, so not to be deleted), `same_account`, `no_content`."""
    next_cursor: str | None
    """There is more: go on from here."""


@exact
class MessagesOut(TypedDict):
    """A page, newest first; `next_cursor` null is the last one."""

    items: list[MessageOut]
    next_cursor: str | None


def when(at: int | None) -> str | None:
    """µs since the epoch as RFC 3339, or null."""
    return None if at is None else rfc3339(at)


def reply_out(reply: Reply | None) -> ReplyOut | None:
    """A reply, or null."""
    return None if reply is None else ReplyOut(code=reply.code, enhanced=reply.enhanced, text=reply.text)


def priority_word(priority: Priority) -> str:
    """Its name in lower case."""
    return priority.name.lower()


def recipient_out(recipient: Recipient) -> RecipientOut:
    """As it stands."""
    return RecipientOut(
        address=recipient.address,
        state=recipient.state,
        reply=reply_out(recipient.reply),
        category=recipient.category,
        attempts=recipient.attempts,
        next_attempt_at=when(recipient.next_attempt_at),
        changed_at=when(recipient.changed_at),
    )


def message_out(detail: MessageDetail) -> MessageOut:
    """A message with its recipients."""
    m = detail.message
    return MessageOut(
        id=m.id,
        tenant=m.tenant,
        client_id=m.client_id,
        state=m.state,
        source=m.source,
        sender=m.sender,
        message_id=m.message_id,
        priority=priority_word(m.priority),
        batch=m.batch,
        account=m.account,
        tags=list(m.tags),
        metadata=None if m.metadata is None else orjson.loads(m.metadata),
        size=m.size,
        accepted_at=rfc3339(m.accepted_at),
        send_at=when(m.not_before),
        expires_at=when(m.expires_at),
        suspended=detail.suspended,
        recipients=[recipient_out(one) for one in detail.recipients],
    )


def acted_out(acted: Acted) -> ActedOut:
    """What an act did."""
    return ActedOut(**message_out(acted.detail), concerned=acted.concerned, under_way=acted.under_way)


def bulk_out(acted: ActedOnAll) -> BulkOut:
    """What an act did to many."""
    skipped = {why.value: count for why, count in sorted(acted.skipped.items())}
    return BulkOut(matched=acted.matched, changed=acted.changed, skipped=skipped, next_cursor=acted.next_before)


def submitted_out(detail: MessageDetail) -> SubmittedOut:
    """The answer to a submission that had come before, as it stands now."""
    return SubmittedOut(
        id=detail.message.id,
        client_id=detail.message.client_id,
        state=detail.message.state,
        recipients=[RecipientState(address=one.address, state=one.state) for one in detail.recipients],
    )
