"""One leased delivery from look-up to settlement: the account as it is now, the courier's attempt, what follows from it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from relay.clock import MINUTE, SECOND, Clock, rfc3339
from relay.contracts import Directory, MessageQueue
from relay.delivery.courier import Courier
from relay.dispatch.bounces import hard_bounces
from relay.dispatch.breaker import Breaker
from relay.dispatch.leases import Leases
from relay.dispatch.outcome import settle_attempt, settle_fault, settle_local_error, since
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.split import parts_of
from relay.dispatch.untried import (
    account_event,
    divide,
    hold_back,
    no_account,
    put_back,
    settle_expired,
    settle_over_limit,
    settle_suppressed,
)
from relay.dispatch.way import Way
from relay.errors import LeaseRanOut, NotFound, StoreUnavailable
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.delivery import AccountFault, Attempt, Category, LeasedDelivery, Phase, Settlement, Verdict
from relay.model.event import Event, EventKind, Facts
from relay.model.queue_key import QueueKey
from relay.model.tenant import INHERIT, Account, OnUnknown, Tenant

log = logging.getLogger(__name__)

LOCAL_ERROR_PAUSE = 5 * MINUTE
"""How long a message waits after an error of ours that nobody foresaw."""
STORE_PAUSE = 5 * SECOND
"""How long one waits whose account or content could not be read."""
SETTLE_PAUSE = 1 * SECOND
_TRIED_AGAIN = frozenset({Verdict.DEFERRED, Verdict.UNKNOWN})


class Attempter:
    """Makes one attempt and writes down what it brought."""

    def __init__(
        self,
        *,
        queue: MessageQueue,
        directory: Directory,
        courier: Courier,
        leases: Leases,
        retry: RetryPolicy,
        clock: Clock,
        log: MailLog,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._directory = directory
        self._courier = courier
        self._leases = leases
        self._retry = retry
        self._clock = clock
        self._log = log
        self._metrics = metrics

    async def attempt(self, way: Way, delivery: LeasedDelivery) -> Settlement | None:
        """The settlement that was written; None when the lease was lost or the store does not answer."""
        self._leases.add(delivery)
        try:
            try:
                settlement = await self._try(way, delivery)
            except asyncio.CancelledError:  # no outcome yet; once there is one, only settle may speak of the lease
                await asyncio.shield(self._give_back(delivery))
                raise
            except StoreUnavailable as error:  # nothing was sent: account or content could not be read
                log.warning("%s: put back as soon as the store answers: %s", delivery.id, error)
                settlement = put_back(delivery, self._clock.now() + STORE_PAUSE, self._clock.now())
            except LeaseRanOut as error:  # nothing was sent: put back, unless somebody else has it by now
                log.warning("%s: %s", delivery.id, error)
                settlement = put_back(delivery, self._clock.now(), self._clock.now())
            self._leases.conclude(delivery)
            return await self._settle(replace(settlement, slots=delivery.slots) if delivery.slots else settlement)
        except StoreUnavailable as error:
            log.warning(
                "%s: the store does not answer (%s); it is taken up again when its lease has run out",
                delivery.id,
                error,
            )
            return None
        finally:
            self._leases.remove(delivery)

    async def expire(self, delivery: LeasedDelivery, reason: str | None = None) -> Settlement | None:
        """A leased delivery that is too late, settled without an attempt."""
        self._leases.add(delivery)
        self._leases.conclude(delivery)
        try:
            return await self._settle(settle_expired(delivery, self._clock.now(), reason))
        except StoreUnavailable as error:
            log.warning("%s: not settled as expired: %s", delivery.id, error)
            return None
        finally:
            self._leases.remove(delivery)

    async def longest_wait(self, queue_key: str) -> int:
        """How long mail of a queue waits for an account that is out of order, in µs."""
        key = QueueKey.parse(queue_key)
        owner, _, account = key.account_key.partition("/")
        try:
            found: Account | None = await self._directory.owned_account(owner, account)
        except NotFound:
            found = None
        return self._policy(found, await self._directory.tenant(key.tenant)).longest_wait

    async def _try(self, way: Way, delivery: LeasedDelivery) -> Settlement:
        now = self._clock.now()
        if delivery.message.expires_at is not None and delivery.message.expires_at <= now:
            return settle_expired(delivery, now)
        if delivery.suppressed:
            return settle_suppressed(delivery, now)
        # All that is looked up is looked up before anything is sent: what a server says must not wait for the store.
        owner = await self._directory.tenant(delivery.message.tenant)
        account = await self._directory.account(delivery.message.tenant, delivery.message.account)
        if account is None or not account.enabled:
            return self._fault(way, delivery, no_account(delivery, account, now), account, owner)
        if parts := parts_of(delivery, account, owner):
            return divide(delivery, parts, now)
        if delivery.over is not None:
            return settle_over_limit(delivery, delivery.over, now)
        way.resize(account)
        return await self._send(way, delivery, account, owner)

    async def _send(self, way: Way, delivery: LeasedDelivery, account: Account, owner: Tenant) -> Settlement:
        started_at = self._clock.now()
        try:
            attempt = await self._courier.deliver(delivery, account, lambda: self._leases.holds(delivery))
        except (StoreUnavailable, LeaseRanOut):  # it could not read the content, or may not send it
            raise
        except Exception:  # an error of ours is not the mail's: it waits, and the log has the cause
            log.exception("%s: attempt failed by an unexpected error", delivery.id)
            return self._local_error(delivery, started_at)
        self._metrics.attempts.inc()
        if attempt.fault is not None:
            return self._fault(way, delivery, attempt, account, owner)
        self._measure(delivery, attempt)
        retry = self._retry
        if any(outcome.verdict in _TRIED_AGAIN for outcome in attempt.outcomes):
            retry = self._policy(account, owner)
        now = self._clock.now()
        settlement = settle_attempt(delivery, attempt, retry, account.on_unknown, now)
        if bounced := hard_bounces(delivery, attempt, owner, now):
            settlement = replace(settlement, suppressions=bounced)
        if way.breaker.is_closed:
            return settlement
        way.breaker = Breaker()
        settlement = replace(settlement, health=way.breaker.health(way.account_key))
        return _along(settlement, account_event(EventKind.ACCOUNT_RESUMED, way.account_key, now, {}))

    def _measure(self, delivery: LeasedDelivery, attempt: Attempt) -> None:
        for outcome in attempt.outcomes:
            self._metrics.outcome(outcome.verdict, outcome.category)
            if outcome.verdict is Verdict.SENT:
                since = max(delivery.message.accepted_at, delivery.message.not_before or 0)
                self._metrics.delivery_seconds.observe((attempt.finished_at - since) / SECOND)

    def _policy(self, account: Account | None, owner: Tenant) -> RetryPolicy:
        """The account's, then the tenant's, then the instance's, as they are now."""
        return self._retry.with_settings(account.retry if account else INHERIT, owner.retry)

    def _fault(
        self, way: Way, delivery: LeasedDelivery, attempt: Attempt, account: Account | None, owner: Tenant
    ) -> Settlement:
        fault = attempt.fault
        assert fault is not None  # noqa: S101  # for mypy: both callers have seen it
        policy = self._policy(account, owner)
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

    def _local_error(self, delivery: LeasedDelivery, started_at: int) -> Settlement:
        now = self._clock.now()
        fault = AccountFault(Category.OTHER, Phase.CONNECT, None, "local error, see the log")
        attempt = Attempt((), started_at, now, "none", fault=fault)
        return settle_local_error(delivery, attempt, now + LOCAL_ERROR_PAUSE, now)

    async def _settle(self, settlement: Settlement) -> Settlement | None:
        """What was written; None when the lease had been lost."""
        try:
            held = await self._write(settlement)
        except StoreUnavailable:
            raise
        except Exception:  # sent again and again with nothing written: there is no worse relay
            log.exception("%s: outcome cannot be written; the delivery is held back", settlement.delivery)
            settlement = hold_back(settlement)
            held = await self._write(settlement)
        if not held:
            self._metrics.leases_lost.inc()
            log.warning(
                "%s: lease had been lost; the outcome of attempt %d was not written",
                settlement.delivery,
                settlement.attempt,
            )
            return None
        self._log.events(settlement.events)
        self._metrics.events(settlement.events)
        return settlement

    async def _write(self, settlement: Settlement) -> bool:
        """Write it, as long as the lease can last: what a server has said must not be forgotten for a store's hiccup."""
        give_up_at = self._clock.boot() + self._leases.lease * 2 // 3
        while True:
            writing = asyncio.ensure_future(self._queue.settle(settlement))
            try:
                return await asyncio.shield(writing)
            except asyncio.CancelledError:  # cut at the end of a stop: it is written all the same, or refused
                return await writing
            except StoreUnavailable:
                if self._clock.boot() >= give_up_at:
                    raise
                await self._clock.pause(SETTLE_PAUSE)

    async def _give_back(self, delivery: LeasedDelivery) -> None:
        try:
            await self._queue.release([delivery])
        except StoreUnavailable as error:
            log.warning("%s: lease not given back: %s", delivery.id, error)


def _along(settlement: Settlement, event: Event) -> Settlement:
    """Written with it, in one transaction."""
    return replace(settlement, events=(*settlement.events, event))
