"""Every metric, declared once, with its help text. One object is handed to the parts that count."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, disable_created_metrics
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from relay.model.delivery import Category, Verdict
from relay.model.event import Event, EventKind
from relay.model.message import Source

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of its own for each counter's birth is noise

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class _Tally(Collector):
    """What is counted for every message, and reaches its counter when somebody looks: a counter of the library has a lock
    and checks of its own (1.5 µs), and a message moves seven of them."""

    def __init__(self) -> None:
        self.count: defaultdict[Counter, int] = defaultdict(int)

    def collect(self) -> Iterable[Metric]:
        """Nothing of its own."""
        for counter, amount in self.count.items():
            counter.inc(amount)
        self.count.clear()
        return ()


class _Tallied:
    """A counter that is counted by the tally."""

    def __init__(self, tally: _Tally, counter: Counter) -> None:
        self._count = tally.count
        self._counter = counter

    def inc(self) -> None:
        """One more."""
        self._count[self._counter] += 1


class _Durations(Collector):
    """A histogram of the library's, told at once where a duration belongs: for the same reason as the tally."""

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = (*bounds, math.inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        """As the library's own shows it."""
        labels = map(floatToGoString, self._bounds)
        buckets = list(zip(labels, accumulate(self._counts), strict=True))
        return (HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum),)


OF_THE_INSTANCE = frozenset(
    {
        "stagepost_queue_deliveries",
        "stagepost_accounts_paused",
        "stagepost_admission_level",
        "stagepost_admission_closed",
    }
)
"""Gauges that each worker of an instance knows of the whole of it, or of which the worst one counts."""


class Metrics:
    """Counters are bound to their labels at start, so that counting costs no look-up."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        r = self.registry
        self._tally = _Tally()
        self._count = self._tally.count
        r.register(self._tally)  # before all others, so that they have what was counted when they are asked
        accepted = Counter("stagepost_messages_accepted", "Messages accepted, by door", ["source"], registry=r)
        self._accepted = {source: accepted.labels(source.value) for source in Source}
        self._recipients = Counter("stagepost_recipients_accepted", "Recipients of accepted messages", registry=r)
        self._bytes = Counter("stagepost_content_bytes_accepted", "Octets of accepted content", registry=r)
        self.rejected = Counter(
            "stagepost_messages_rejected", "Messages refused at a door, by reply code", ["door", "code"], registry=r
        )
        events = Counter("stagepost_events", "What happened to recipients and messages, by kind", ["kind"], registry=r)
        self._events = {kind: events.labels(kind.value) for kind in EventKind}
        outcomes = Counter(
            "stagepost_outcomes", "Recipients by what one attempt brought them", ["verdict", "category"], registry=r
        )
        self._outcomes = {(v, c): outcomes.labels(v.value, c.value) for v in Verdict for c in (Category.NONE,)}
        self._outcomes_family = outcomes
        self.attempts = _Tallied(self._tally, Counter("stagepost_attempts", "Attempts made", registry=r))
        self.account_faults = Counter(
            "stagepost_account_faults",
            "Attempts that failed by the account's fault, by category",
            ["category"],
            registry=r,
        )
        self.accounts_paused = Gauge(
            "stagepost_accounts_paused", "Accounts that wait out a fault of their own", registry=r
        )
        self.leases_lost = Counter("stagepost_leases_lost", "Settlements refused by the fence", registry=r)
        self.recovered = Counter("stagepost_leases_recovered", "Deliveries taken back from dead leases", registry=r)
        self.in_flight = Gauge("stagepost_attempts_in_flight", "Attempts running now", registry=r)
        self.queue_depth = Gauge(
            "stagepost_queue_deliveries", "Deliveries not done, as this instance knows", registry=r
        )
        workers = Gauge("stagepost_workers", "Processes of this instance that answer", registry=r)
        workers.set(1)
        self.workers_silent = Gauge(
            "stagepost_workers_silent", "Processes that do not: of them what they last showed is counted", registry=r
        )
        self.connections = Gauge("stagepost_smtp_connections", "Open SMTP client connections", registry=r)
        self.connections_refused = Counter(
            "stagepost_smtp_connections_refused", "SMTP connections refused for their number", registry=r
        )
        self.admission_level = Gauge(
            "stagepost_admission_level",
            "What may run short, as a share of its mark: at 1 no mail is accepted",
            ["part"],
            registry=r,
        )
        self.admission_closed = Gauge(
            "stagepost_admission_closed", "Whether a part keeps the doors closed for new mail", ["part"], registry=r
        )
        self.admission_refused = Counter(
            "stagepost_admission_refused",
            "Messages refused before they began, by the part at fault",
            ["part"],
            registry=r,
        )
        self.held_after_deaths = Counter(
            "stagepost_held_after_deaths",
            "Recipients held because the relay died with them again and again",
            registry=r,
        )
        self.retention_removed = Counter(
            "stagepost_retention_removed", "What was removed because it was kept long enough", ["part"], registry=r
        )
        self.auth_failed = Counter("stagepost_auth_failed", "Failed logins, by door", ["door"], registry=r)
        self.delivery_seconds = _Durations(
            "stagepost_delivery_seconds", "From acceptance (or send-at) to sent", _SECONDS
        )
        r.register(self.delivery_seconds)

    def accepted(self, source: Source, recipients: int, size: int) -> None:
        """A message was committed."""
        count = self._count
        count[self._accepted[source]] += 1
        count[self._recipients] += recipients
        count[self._bytes] += size

    def events(self, events: tuple[Event, ...]) -> None:
        """Events were committed."""
        for event in events:
            self._count[self._events[event.kind]] += 1

    def outcome(self, verdict: Verdict, category: Category) -> None:
        """One recipient's part of an attempt."""
        try:
            counter = self._outcomes[verdict, category]
        except KeyError:
            counter = self._outcomes[verdict, category] = self._outcomes_family.labels(verdict.value, category.value)
        self._count[counter] += 1
