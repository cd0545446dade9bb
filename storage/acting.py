"""Acting: what an operator's order decides (storage.acts) is read for and written, many messages in one transaction.

The messages and their deliveries are locked, so that what is decided about is what is changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relay.errors import Invalid, Violation
from relay.model.act import Act, WhyNot
from relay.model.message import DeliveryState, QueueId, Recipient
from storage.acts import STOPPED, Delivery, Doing, Order, Standing, decide
from storage.configuration import find_owner
from storage.notices import ready_notes
from storage.retention import ROWS
from storage.rows import read_message, read_recipient
from storage.settling import change_recipients
from storage.suppressing import find_suppressed
from storage.work import Lock, Work, execute, fetch, fetch_one, notify


@dataclass(slots=True)
class Performed:
    """What an order did to some messages."""

    done: dict[QueueId, Doing] = field(default_factory=dict)
    not_done: dict[QueueId, WhyNot] = field(default_factory=dict)
    large: Sequence[str] = ()
    """Deleted messages whose large content, beside the rows, is to go."""

    @property
    def ready(self) -> list[tuple[str, int]]:
        """Queue key and due time of what may be sent now."""
        return [each for doing in self.done.values() for each in doing.ready]


def judge(tenant: str | None, messages: Sequence[QueueId], order: Order) -> Work[Performed]:
    """What the order would do. A message that is not there, or another tenant's, is in neither part of the answer."""
    performed = Performed()
    targets: dict[str, str] = {}
    for standing in (yield from find_standings(tenant, messages)):
        of = standing.message.tenant
        if order.act is Act.REROUTE and of not in targets:
            targets[of] = yield from _target(of, order.account)
        if order.act is Act.RETRY:
            standing = yield from _with_suppressed(standing, order.at)
        decided = decide(standing, order, targets.get(of))
        if isinstance(decided, Doing):
            performed.done[standing.message.id] = decided
        else:
            performed.not_done[standing.message.id] = decided
    return performed


def _with_suppressed(standing: Standing, at: int) -> Work[Standing]:
    """What has failed for an address that is on the list would only come to stand as suppressed."""
    of = standing.message.tenant
    stopped = [one.address for one, _ in standing.within_reach(STOPPED)]
    found = yield from find_suppressed({of: stopped}, {"now": at})
    return replace(standing, suppressed=frozenset(found.get(of, ())))


def perform(tenant: str | None, messages: Sequence[QueueId], order: Order) -> Work[Performed]:
    """Do it."""
    given = [(message,) for message in sorted(messages)]
    yield Lock("lock_messages", given)
    yield Lock("lock_deliveries", given)
    performed = yield from judge(tenant, messages, order)
    done = performed.done.values()
    yield from change_recipients(
        [change for doing in done for change in doing.changes], [event for doing in done for event in doing.events]
    )
    moves = [
        (doing.message, number, state.value, due, key) for doing in done for number, state, due, key in doing.moves
    ]
    yield from execute("reschedule_deliveries", given=moves)
    rerouted = [(doing.message, doing.account) for doing in done if doing.account is not None]
    yield from execute("change_accounts", given=rerouted)
    deleted = [(doing.message,) for doing in done if doing.is_deleted]
    performed.large = [row[0] for row in (yield from fetch("large_contents", given=deleted))]
    for part in ROWS if deleted else ():
        yield from execute(f"delete_{part}", given=deleted)
    yield from notify(ready_notes(performed.ready))
    return performed


def _target(tenant: str, account: str | None) -> Work[str]:
    """The key of the account that the tenant means; Invalid where there is none, or it is disabled."""
    owner = yield from find_owner(tenant, account)
    if owner is None:
        raise Invalid(Violation("/account", "there is no such account"))
    row = yield from fetch_one("is_enabled", {"owner": owner, "account": account})
    if row is None or not row[0]:
        raise Invalid(Violation("/account", "is disabled"))
    return f"{owner}/{account}"


def find_standings(tenant: str | None, messages: Sequence[QueueId]) -> Work[list[Standing]]:
    """How messages stand; without those that are not there, or another tenant's."""
    given = [(message,) for message in messages]
    facts = [read_message(row) for row in (yield from fetch("late_messages", given=given))]
    found = {one.id: one for one in facts if tenant in {None, one.tenant}}
    given = [(message,) for message in found]
    recipients: dict[str, list[tuple[Recipient, int]]] = defaultdict(list)
    for row in (yield from fetch("addressed_recipients", given=given)):
        recipients[row[0]].append((read_recipient(row, 2), row[1]))
    deliveries: dict[str, dict[int, Delivery]] = defaultdict(dict)
    for message, number, queue_key, state, due, attempt in (yield from fetch("deliveries_of", given=given)):
        deliveries[message][number] = Delivery(queue_key, DeliveryState(state), due, attempt)
    kept = {row[0] for row in (yield from fetch("kept_contents", given=given))}
    return [Standing(one, recipients[one.id], deliveries[one.id], one.id in kept) for one in found.values()]
