"""Messages as genro-mail-proxy lists them: one record for a message, times in seconds since 1970.

It knows one outcome for a message; where its recipients differ, a record has both `sent_ts` and `error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired

from typing_extensions import TypedDict

from relay.clock import SECOND, rfc3339
from relay.model.event import Event, EventKind
from relay.model.message import CLOSED_STATES, MessageDetail, MessageState, Recipient, RecipientState
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of

_ENDED_BADLY = {
    RecipientState.FAILED,
    RecipientState.EXPIRED,
    RecipientState.CANCELLED,
    RecipientState.SUPPRESSED,
}
_KINDS = {
    EventKind.ACCEPTED: "queued",
    EventKind.FAILED: "error",
    EventKind.EXPIRED: "error",
    EventKind.CANCELLED: "error",
    EventKind.SUPPRESSED: "error",
}
"""Kinds of events by the names that clients know; the others go by their own."""


@example(
    {
        "event_id": 17,
        "event_type": "sent",
        "event_ts": 1767225601,
        "description": "250 2.0.0 ok",
        "metadata": {"reply": "250 2.0.0 ok", "recipient": "ann@example.net"},
        "reported_ts": None,
    }
)
@exact
class GenroEventOut(TypedDict):
    """What happened to a message."""

    event_id: int
    event_type: str
    """`queued`, `deferred`, `sent`, `error`, or one of those of `/v1/events`."""
    event_ts: int
    description: str | None
    """The reason, or the reply of the next hop."""
    metadata: dict[str, str | int | None]
    """With `recipient`: null speaks of the whole message."""
    reported_ts: int | None
    """Null: reports are not sent yet."""


_From = TypedDict("_From", {"from": str})
"""Apart, because the name is a keyword."""


@example(
    {
        "id": "invoice-117",
        "tenant_id": "acme",
        "account_id": "out",
        "from": "billing@example.com",
        "to": ["ann@example.net"],
        "message_id": "<0mk5w8r1c2q7x@relay.example.com>",
        "priority": 1,
        "batch_code": None,
        "deferred_ts": None,
    }
)
@exact
class GenroPayloadOut(_From):
    """What is known of the message as it was handed in: the envelope and the controls. Its content is at `/v1/messages`."""

    id: str
    tenant_id: str
    account_id: str
    to: list[str]
    """All recipients, those of copies among them."""
    message_id: str
    priority: int
    batch_code: str | None
    deferred_ts: int | None


@example(
    {
        "pk": "0mk5w8r1c2q7x",
        "id": "invoice-117",
        "tenant_id": "acme",
        "tenant_name": "Acme Ltd",
        "account_id": "out",
        "status": "sent",
        "priority": 1,
        "batch_code": None,
        "deferred_ts": None,
        "sent_ts": 1767225601,
        "error_ts": None,
        "error": None,
        "reported_ts": None,
        "bounce_type": None,
        "bounce_code": None,
        "bounce_reason": None,
        "bounce_ts": None,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:01Z",
        "is_pec": False,
        "message": example_of(GenroPayloadOut),
    }
)
@exact
class GenroMessageOut(TypedDict):
    """A message and what became of it."""

    pk: str
    """Its id in `/v1/messages`, in the log and in `X-Stagepost-ID`."""
    id: str
    """The client's own; else `pk`."""
    tenant_id: str
    tenant_name: str
    account_id: str
    status: str
    """`pending`, `deferred`, `sent`, `error`; or `captured`: kept by an account that never sends."""
    priority: int
    batch_code: str | None
    deferred_ts: int | None
    """When it is due, where that is later than at once."""
    sent_ts: int | None
    """When the last of its recipients to be sent to was; null where none was."""
    error_ts: int | None
    error: str | None
    """Why it did not reach the first recipient that it did not reach."""
    reported_ts: int | None
    """Null: reports are not sent yet."""
    bounce_type: str | None
    bounce_code: str | None
    bounce_reason: str | None
    bounce_ts: int | None
    """Null, as the others of a bounce: bounces are not read yet."""
    created_at: str
    updated_at: str
    is_pec: bool
    message: GenroPayloadOut
    history: NotRequired[list[GenroEventOut]]
    """Where it was asked for."""


@example({"ok": True, "messages": [example_of(GenroMessageOut)]})
@exact
class GenroMessagesOut(TypedDict):
    """All that were asked for, newest first."""

    ok: bool
    messages: list[GenroMessageOut]


def seconds(at: int | None) -> int | None:
    """µs since 1970 as seconds."""
    return None if at is None else at // SECOND


def client_id_of(detail: MessageDetail) -> str:
    """By which a client knows it."""
    return detail.message.client_id or detail.message.id


def is_told_by_events(detail: MessageDetail) -> bool:
    """Whether its recipients cannot say why it failed: it was refused before anything was tried."""
    refused = all(one.state is RecipientState.FAILED and one.attempts == 0 for one in detail.recipients)
    return detail.message.state is MessageState.FAILED and refused


def event_out(event: Event) -> GenroEventOut:
    """What happened."""
    why = event.facts.get("reason") or event.facts.get("reply")
    return GenroEventOut(
        event_id=event.sequence,
        event_type=_KINDS.get(event.kind, event.kind.value),
        event_ts=event.at // SECOND,
        description=None if why is None else str(why),
        metadata={**event.facts, "recipient": event.recipient},
        reported_ts=None,
    )


def message_out(detail: MessageDetail, tenant_name: str, events: Sequence[Event] | None) -> GenroMessageOut:
    """A record; with `events`, where they were read, its history."""
    message, recipients = detail.message, detail.recipients
    sent = [one for one in recipients if one.state is RecipientState.SENT]
    bad = [one for one in recipients if one.state in _ENDED_BADLY]
    error, error_at = (_error(bad[0]), _latest(bad, message.accepted_at)) if bad else (None, None)
    if is_told_by_events(detail):
        error, error_at = _refusal(events or (), error), error_at or message.accepted_at
    due = _due(detail)
    sent_at = _latest(sent, message.accepted_at) if sent else None
    return GenroMessageOut(
        pk=message.id,
        id=client_id_of(detail),
        tenant_id=message.tenant,
        tenant_name=tenant_name,
        account_id=message.account,
        status=_status(detail, due),
        priority=int(message.priority),
        batch_code=message.batch,
        deferred_ts=seconds(due),
        sent_ts=seconds(sent_at),
        error_ts=seconds(error_at),
        error=error,
        reported_ts=None,
        bounce_type=None,
        bounce_code=None,
        bounce_reason=None,
        bounce_ts=None,
        created_at=rfc3339(message.accepted_at),
        updated_at=rfc3339(_latest(recipients, message.accepted_at)),
        is_pec=False,
        message=_payload(detail),
    )


def _payload(detail: MessageDetail) -> GenroPayloadOut:
    message = detail.message
    return {
        "id": client_id_of(detail),
        "tenant_id": message.tenant,
        "account_id": message.account,
        "from": message.sender,
        "to": [one.address for one in detail.recipients],
        "message_id": message.message_id,
        "priority": int(message.priority),
        "batch_code": message.batch,
        "deferred_ts": seconds(message.not_before),
    }


def _latest(recipients: Sequence[Recipient], otherwise: int) -> int:
    return max((one.changed_at for one in recipients if one.changed_at is not None), default=otherwise)


def _due(detail: MessageDetail) -> int | None:
    """When it is tried next, where it waits for that: of one that was not tried yet, its own time, if it has one."""
    if detail.message.state in CLOSED_STATES:
        return None
    retries = [
        one.next_attempt_at
        for one in detail.recipients
        if one.state in {RecipientState.DEFERRED, RecipientState.UNKNOWN} and one.next_attempt_at is not None
    ]
    return min(retries, default=detail.message.not_before)


def _status(detail: MessageDetail, due: int | None) -> str:
    state = detail.message.state
    if state not in CLOSED_STATES:
        return "pending" if due is None else "deferred"
    if state in {MessageState.SENT, MessageState.CAPTURED}:
        return state.value
    return "error"


def _error(recipient: Recipient) -> str:
    """The reply, or the word for how it ended."""
    if recipient.reply is not None:
        return f"{recipient.address}: {recipient.reply}"
    return f"{recipient.address}: {recipient.state.value}"


def _refusal(events: Sequence[Event], otherwise: str | None) -> str | None:
    reasons = [event.facts.get("reason") for event in events if event.kind is EventKind.FAILED]
    return next((str(one) for one in reasons if one is not None), otherwise)
