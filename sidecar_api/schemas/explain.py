"""Why a message has not been sent yet, as the API says it."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from relay.model.delivery import Attempt
from relay.model.explanation import DeliveryExplanation
from relay.model.message import MessageDetail
from sidecar_api.schemas.attempts import AttemptOut, attempt_out
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.views import when


@exact
class RouteOut(TypedDict):
    """By which way it goes: the account as it is now."""

    account: str
    kind: str
    next_hop: str
    tls: str


@example(
    {"kind": "limit", "detail": "the limit of account acme/main is reached; the next slot opens then", "until": None}
)
@exact
class ReasonOut(TypedDict):
    """What keeps it back, and until when, where that is known."""

    kind: str
    detail: str
    until: str | None


@example(
    {
        "delivery": "1k0wtqqeggcwfkgd.1",
        "state": "ready",
        "recipients": ["ann@example.net"],
        "route": {"account": "acme/main", "kind": "smtp", "next_hop": "smtp.example.com:587", "tls": "starttls"},
        "attempts": 1,
        "holder": None,
        "next_attempt_at": "2026-01-01T09:01:00Z",
        "reasons": [{"kind": "not_yet", "detail": "its next try is due later", "until": "2026-01-01T09:01:00Z"}],
    }
)
@exact
class DeliveryOut(TypedDict):
    """A delivery that is not done: for whom, by which way, when it is tried next (null: something must happen first)."""

    delivery: str
    state: str
    recipients: list[str]
    route: RouteOut | None
    attempts: int
    holder: str | None
    next_attempt_at: str | None
    reasons: list[ReasonOut]


@example(
    {
        "id": "1k0wtqqeggcwfkgd",
        "state": "open",
        "deliveries": [example_of(DeliveryOut)],
        "attempts": [example_of(AttemptOut)],
    }
)
@exact
class ExplainOut(TypedDict):
    """A message's state, what its deliveries wait for (none: it is done), and every try so far."""

    id: str
    state: str
    deliveries: list[DeliveryOut]
    attempts: list[AttemptOut]


def explain_out(
    detail: MessageDetail, explained: Sequence[DeliveryExplanation], attempts: Sequence[Attempt]
) -> ExplainOut:
    """All of it."""
    return ExplainOut(
        id=detail.message.id,
        state=detail.message.state,
        deliveries=[_delivery_out(one) for one in explained],
        attempts=[attempt_out(one) for one in attempts],
    )


def _delivery_out(one: DeliveryExplanation) -> DeliveryOut:
    delivery, route = one.delivery, one.route
    return DeliveryOut(
        delivery=delivery.id,
        state=delivery.state,
        recipients=list(delivery.recipients),
        route=None
        if route is None
        else RouteOut(account=route.account, kind=route.kind, next_hop=route.next_hop, tls=route.tls),
        attempts=delivery.attempt,
        holder=delivery.holder,
        next_attempt_at=when(one.next_attempt_at),
        reasons=[ReasonOut(kind=r.kind, detail=r.detail, until=when(r.until)) for r in one.reasons],
    )
