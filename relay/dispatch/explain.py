"""Explain: why a message has not been sent yet. The judgement is pure; the Explainer gathers what it needs.

What the store knows (due times, leases, limits, suspension) is the same on every instance; what dispatch knows (breaker,
free connections) is this instance's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.clock import Clock
from relay.contracts.archive import MessageArchive
from relay.contracts.directory import Directory
from relay.contracts.queue import MessageQueue
from relay.dispatch.dispatcher import Dispatcher
from relay.model.explanation import (
    DeliveryExplanation,
    DeliveryStanding,
    LaneStanding,
    LimitStanding,
    Reason,
    ReasonKind,
    Route,
)
from relay.model.message import DeliveryState, QueueId
from relay.model.tenant import Account, AccountKind


class Explainer:
    """Satisfies contracts.Explainer."""

    def __init__(
        self, archive: MessageArchive, queue: MessageQueue, directory: Directory, dispatcher: Dispatcher, clock: Clock
    ) -> None:
        self._archive = archive
        self._queue = queue
        self._directory = directory
        self._dispatcher = dispatcher
        self._clock = clock

    async def explain(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryExplanation]:
        """Each delivery that is not done; NotFound."""
        facts = (await self._archive.message(tenant, message)).message
        owner = await self._directory.tenant(facts.tenant)
        stopped = not (await self._directory.instance()).dispatch.active
        account = await self._directory.account(facts.tenant, facts.account)
        explained = []
        for delivery in await self._archive.deliveries(tenant, message):
            if delivery.state is DeliveryState.DONE:
                continue
            limits = await self._queue.limits(delivery.queue_key)
            lane = self._dispatcher.standing(delivery.queue_key)
            now = self._clock.now()
            reasons = reasons_of(delivery, owner.suspends(facts.batch), limits, lane, account, now, stopped=stopped)
            explained.append(DeliveryExplanation(delivery, route_of(account), reasons, next_attempt(delivery, reasons)))
        return explained


def reasons_of(
    delivery: DeliveryStanding,
    suspended: bool,
    limits: Sequence[LimitStanding],
    lane: LaneStanding,
    account: Account | None,
    now: int,
    *,
    stopped: bool = False,
) -> tuple[Reason, ...]:
    """All that keeps it back, the most telling first; never empty."""
    if delivery.state is DeliveryState.HELD:
        return (Reason(ReasonKind.HELD, "it is held until somebody releases, retries or cancels it"),)
    if delivery.state is DeliveryState.LEASED:
        return (_attempted(delivery, now),)
    found: list[Reason] = []
    if suspended:
        found.append(Reason(ReasonKind.SUSPENDED, "its tenant or batch is suspended; it goes on when that is resumed"))
    if account is None:
        found.append(Reason(ReasonKind.NO_ACCOUNT, "its account is gone: add it again, reroute or cancel the message"))
    elif not account.enabled:
        found.append(Reason(ReasonKind.NO_ACCOUNT, "its account is disabled: enable it, reroute or cancel the message"))
    if delivery.due > now:
        what = "its next try" if delivery.attempt else "its send-at"
        found.append(Reason(ReasonKind.NOT_YET, f"{what} is due later", delivery.due))
    if lane.faults:
        times = "once" if lane.faults == 1 else f"{lane.faults} times"
        detail = f"its account has failed {times} in a row ({lane.ailment}) and is paused; it is probed then"
        found.append(Reason(ReasonKind.PAUSED, detail, max(now, lane.paused_until)))
    found += [_limited(limit) for limit in limits if limit.opens_at is not None]
    if stopped:
        found.append(Reason(ReasonKind.INACTIVE, "the scheduler is stopped (stagepost dispatch start starts it)"))
    elif not lane.active:
        found.append(Reason(ReasonKind.INACTIVE, "this instance does not send (dispatch.active in its configuration)"))
    return tuple(found) or (_turn(lane),)


def _attempted(delivery: DeliveryStanding, now: int) -> Reason:
    left = delivery.lease_left or 0
    if left < 0:
        return Reason(ReasonKind.ATTEMPTED, f"the lease of {delivery.holder} has run out; it is about to be taken over")
    return Reason(ReasonKind.ATTEMPTED, f"{delivery.holder} attempts it now, number {delivery.attempt}", now + left)


def _limited(limit: LimitStanding) -> Reason:
    kind, _, of = limit.key.partition(":")
    under_way = f", {limit.in_flight} under way" if limit.in_flight else ""
    used = ", ".join(f"{one.used} of {one.most} per {one.length}" for one in limit.windows if one.used >= one.most)
    used = used and f" ({used})"
    detail = f"the limit of {kind} {of} is reached{used}{under_way}; the next slot opens then"
    return Reason(ReasonKind.LIMIT, detail, limit.opens_at)


def _turn(lane: LaneStanding) -> Reason:
    return Reason(
        ReasonKind.TURN, f"it is due and waits for its turn; {lane.free} of {lane.capacity} connections are free"
    )


def next_attempt(delivery: DeliveryStanding, reasons: Sequence[Reason]) -> int | None:
    """When it is tried next at the earliest; None while something stands in the way that no time lifts."""
    if delivery.state is DeliveryState.LEASED or any(
        reason.until is None and reason.kind is not ReasonKind.TURN for reason in reasons
    ):
        return None
    return max([delivery.due, *(reason.until for reason in reasons if reason.until is not None)])


def route_of(account: Account | None) -> Route | None:
    """The way out."""
    if account is None:
        return None
    capture = account.kind is AccountKind.CAPTURE
    return Route(
        account.key,
        account.kind.value,
        "capture" if capture else f"{account.host}:{account.port}",
        "none" if capture else account.tls.value,
    )
