"""Untried: what is written of a delivery for which no attempt was made, or could not be written down. Pure."""

from __future__ import annotations

from dataclasses import replace

from relay.dispatch.outcome import settlement_of
from relay.dispatch.recipient import event_of
from relay.model.delivery import (
    AccountFault,
    Attempt,
    Category,
    LeasedDelivery,
    Part,
    Phase,
    RecipientChange,
    Settlement,
)
from relay.model.event import Event, EventKind, Facts
from relay.model.message import DeliveryState, RecipientState
from relay.model.queue_key import account_key_of
from relay.model.reply import Reply
from relay.model.suppression import suppressed_event
from relay.model.tenant import Account


def settle_expired(delivery: LeasedDelivery, now: int, reason: str | None = None) -> Settlement:
    """Its time passed before it could be tried again."""
    reply = Reply(554, "5.4.7", "expired before it could be delivered")
    facts: Facts = {"account": account_key_of(delivery.queue_key), "reason": reason}
    return settlement_of(
        delivery,
        state=DeliveryState.DONE,
        due=now,
        at=now,
        recipients=tuple(
            RecipientChange(
                recipient.position,
                RecipientState.EXPIRED,
                recipient.reply or reply,
                Category.EXPIRED.value,
                recipient.attempts,
            )
            for recipient in delivery.recipients
        ),
        events=tuple(event_of(delivery, EventKind.EXPIRED, now, recipient, facts) for recipient in delivery.recipients),
    )


def account_event(kind: EventKind, account_key: str, at: int, facts: Facts) -> Event:
    """What happened to an account, which is its owner's to know."""
    owner, _, _ = account_key.partition("/")
    return Event(kind, at, owner, None, facts={"account": account_key, **facts})


def put_back(delivery: LeasedDelivery, due: int, now: int) -> Settlement:
    """Untried, since something of it could not be read: no attempt is counted, and its slots are given back."""
    return settlement_of(delivery, state=DeliveryState.READY, due=due, at=now)


def divide(delivery: LeasedDelivery, parts: tuple[Part, ...], now: int) -> Settlement:
    """Untried: its recipients go in parts, by queues of their own. The first part stays in this delivery."""
    first, *others = parts
    waiting = settlement_of(delivery, state=DeliveryState.READY, due=delivery.due, at=now)
    return replace(waiting, queue_key=first.queue_key, parts=tuple(others))


def settle_over_limit(delivery: LeasedDelivery, limit_key: str, now: int) -> Settlement:
    """Untried: a limit is reached that rejects."""
    kind, _, of = limit_key.partition(":")
    facts: Facts = {
        "reason": f"the limit of {kind} {of} is reached, and it rejects what is over it",
        "category": Category.RATE.value,
        "account": account_key_of(delivery.queue_key),
    }
    return settlement_of(
        delivery,
        state=DeliveryState.DONE,
        due=now,
        at=now,
        recipients=tuple(
            RecipientChange(one.position, RecipientState.FAILED, one.reply, Category.RATE.value, one.attempts)
            for one in delivery.recipients
        ),
        events=tuple(event_of(delivery, EventKind.FAILED, now, one, facts) for one in delivery.recipients),
    )


def settle_suppressed(delivery: LeasedDelivery, now: int) -> Settlement:
    """Untried: some recipients have come to stand on the tenant's list; the others are claimed anew, in their old place."""
    why = dict(delivery.suppressed)
    message = delivery.message
    spared = [one for one in delivery.recipients if one.position in why]
    return settlement_of(
        delivery,
        state=DeliveryState.DONE if len(spared) == len(delivery.recipients) else DeliveryState.READY,
        due=delivery.due,
        at=now,
        recipients=tuple(
            RecipientChange(one.position, RecipientState.SUPPRESSED, one.reply, one.category, one.attempts)
            for one in spared
        ),
        events=tuple(
            suppressed_event(message.tenant, message.id, one.address, why[one.position], now) for one in spared
        ),
    )


def hold_back(settlement: Settlement) -> Settlement:
    """In place of a settlement that cannot be written: nothing of it but that the delivery waits for somebody."""
    return replace(settlement, state=DeliveryState.HELD, recipients=(), events=(), record=None, whole=False)


def no_account(delivery: LeasedDelivery, account: Account | None, now: int) -> Attempt:
    """The account is gone, or disabled: the mail waits and says so."""
    what = "is disabled: enable it" if account else "does not exist: add it again"
    detail = f"account {delivery.message.account} {what}, or reroute or cancel the mail"
    return Attempt((), now, now, "none", fault=AccountFault(Category.CONFIGURATION, Phase.CONNECT, None, detail))
