"""One leased delivery from look-up to outcome: the account as it is now, the courier's attempt, what follows from it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

from relay.clock import MINUTE, SECOND, Clock, rfc3339
from relay.contracts.directory import Directory
from relay.contracts.queue import MessageQueue
from relay.delivery.courier import Courier
from relay.dispatch.bounces import hard_bounces
from relay.dispatch.breaker import Breaker
from relay.dispatch.leases import Lease, Leases
from relay.dispatch.outcome import settle_attempt, settle_fault, settle_local_error
from relay.dispatch.recipient import since
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.routes import Route, Routes
from relay.dispatch.split import parts_of
from relay.dispatch.untried import (
    account_event,
    divide,
    no_account,
    put_back,
    settle_expired,
    settle_over_limit,
    settle_suppressed,
)
from relay.dispatch.way import Way
from relay.errors import LeaseRanOut, NotFound, StoreUnavailable
from relay.metrics import Metrics
from relay.model.delivery import AccountFault, Attempt, Category, LeasedDelivery, Phase, Settlement, Verdict
from relay.model.event import Event, EventKind, Facts
from relay.model.queue_key import QueueKey
from relay.model.tenant import Account, OnUnknown

log = logging.getLogger(__name__)

LOCAL_ERROR_PAUSE = 5 * MINUTE
"""How long a message waits after an error of ours that nobody foresaw."""
STORE_PAUSE = 5 * SECOND
"""How long one waits whose account or content could not be read."""


class Attempter:
    """Makes one attempt, and says what is to be written of it."""

    def __init__(
        self,
        *,
        queue: MessageQueue,
        directory: Directory,
        courier: Courier,
        leases: Leases,
        retry: RetryPolicy,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._directory = directory
        self._routes = Routes(directory, retry)
        self._courier = courier
        self._leases = leases
        self._retry = retry
        self._clock = clock
        self._metrics = metrics

    async def attempt(self, way: Way, lease: Lease) -> Settlement:
        """What is to be written of it. Cut before there is anything to tell, it gives the lease back."""
        delivery, now = lease.delivery, self._clock.now()
        if delivery.message.expires_at is not None and delivery.message.expires_at <= now:
            return settle_expired(delivery, now)
        if delivery.suppressed:
            return settle_suppressed(delivery, now)
        try:
            # All that is looked up is looked up before anything is sent: what a server says must not wait for the store.
            route = await self._routes.find(delivery.message)
            account = route.account
            if account is None or not account.enabled:
                return self._fault(way, delivery, no_account(delivery, account, now), route)
            if delivery.queue_key != route.undivided and (parts := parts_of(delivery, account, route.owner)):
                return divide(delivery, parts, now)
            if delivery.over is not None:
                return settle_over_limit(delivery, delivery.over, now)
            if account is not way.account:
                way.resize(account)
            attempt = await self._courier.deliver(delivery, account, partial(self._leases.holds, lease))
        except asyncio.CancelledError:  # no outcome yet; once there is one, only settle may speak of the lease
            await asyncio.shield(self._give_back(delivery))
            raise
        except Exception as error:
            return self._untried(delivery, error, now)
        self._metrics.attempts.inc()
        if attempt.fault is not None:
            return self._fault(way, delivery, attempt, route)
        return self._outcome(way, delivery, attempt, account, route)

    def _untried(self, delivery: LeasedDelivery, error: Exception, began: int) -> Settlement:
        """Nothing was sent, as far as is known."""
        now = self._clock.now()
        if isinstance(error, StoreUnavailable):  # account or content could not be read
            log.warning("%s: put back as soon as the store answers: %s", delivery.id, error)
            return put_back(delivery, now + STORE_PAUSE, now)
        if isinstance(error, LeaseRanOut):  # put back, unless somebody else has it by now
            log.warning("%s: %s", delivery.id, error)
            return put_back(delivery, now, now)
        # An error of ours is not the mail's: it waits, and the log has the cause.
        log.error("%s: attempt failed by an unexpected error", delivery.id, exc_info=error)
        fault = AccountFault(Category.OTHER, Phase.CONNECT, None, "local error, see the log")
        return settle_local_error(delivery, Attempt((), began, now, "none", fault=fault), now + LOCAL_ERROR_PAUSE, now)

    def _outcome(
        self, way: Way, delivery: LeasedDelivery, attempt: Attempt, account: Account, route: Route
    ) -> Settlement:
        now = attempt.finished_at
        for outcome in attempt.outcomes:
            self._metrics.outcome(outcome.verdict, outcome.category)
            if outcome.verdict is Verdict.SENT:
                self._metrics.delivery_seconds.observe((now - since(delivery)) / SECOND)
        settlement = settle_attempt(delivery, attempt, route.retry, account.on_unknown, now)
        if bounced := hard_bounces(delivery, attempt, route.owner, now):
            settlement = replace(settlement, suppressions=bounced)
        if way.breaker.is_closed:
            return settlement
        way.breaker = Breaker()
        settlement = replace(settlement, health=way.breaker.health(way.account_key))
        return _along(settlement, account_event(EventKind.ACCOUNT_RESUMED, way.account_key, now, {}))

    async def longest_wait(self, queue_key: str) -> int:
        """How long mail of a queue waits for an account that is out of order, in µs."""
        key = QueueKey.parse(queue_key)
        owner, _, account = key.account_key.partition("/")
        try:
            found: Account | None = await self._directory.owned_account(owner, account)
        except NotFound:
            found = None
        return self._retry.of(found, await self._directory.tenant(key.tenant)).longest_wait

    def _fault(self, way: Way, delivery: LeasedDelivery, attempt: Attempt, route: Route) -> Settlement:
        fault = attempt.fault
        assert fault is not None  # noqa: S101  # for mypy: both callers have seen it
        policy, account = route.retry, route.account
        on_unknown = account.on_unknown if account else OnUnknown.RETRY
        now = self._clock.now()
        before = way.breaker
        way.breaker = after = before.after_fault(now, fault.detail, policy.grants(fault.asked) or 0)
        self._metrics.account_faults.labels(fault.category.value).inc()
        until = since(delivery) + policy.longest_wait
        settlement = settle_fault(delivery, attempt, fault, after.open_until, on_unknown, now, until=until)
        if after is not before:
            settlement = replace(settlement, health=after.health(way.account_key))
        if not before.is_closed:
            return settlement
        facts: Facts = {"category": fault.category.value, "reason": fault.detail, "until": rfc3339(after.open_until)}
        return _along(settlement, account_event(EventKind.ACCOUNT_PAUSED, way.account_key, now, facts))

    async def _give_back(self, delivery: LeasedDelivery) -> None:
        try:
            await self._queue.release([delivery])
        except StoreUnavailable as error:
            log.warning("%s: lease not given back: %s", delivery.id, error)


def _along(settlement: Settlement, event: Event) -> Settlement:
    """Written with it, in one transaction."""
    return replace(settlement, events=(*settlement.events, event))
