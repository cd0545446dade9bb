"""The metrics of several processes as one instance's."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from relay.workers.figures import Figures, merge
from tests.support.family import figure


class Process:
    """What one worker counts."""

    def __init__(self, directory: Path, number: int) -> None:
        registry = CollectorRegistry()
        self.sent = Counter("sent", "Sent", ["kind"], registry=registry)
        self.open = Gauge("open", "Open", registry=registry)
        self.depth = Gauge("depth", "Depth", registry=registry)
        self.seconds = Histogram("seconds", "Seconds", buckets=(1, 5), registry=registry)
        self.figures = Figures(registry, directory, number)


def test_sums_and_the_largest(tmp_path: Path) -> None:
    one, two = Process(tmp_path, 0), Process(tmp_path, 1)
    for process, count in ((one, 3), (two, 4)):
        process.sent.labels("a").inc(count)
        process.open.set(count)
        process.depth.set(count)
        process.seconds.observe(count)
    two.sent.labels('b "quoted"\n').inc()
    text = merge([one.figures.own().decode(), two.figures.own().decode()], {"depth"}).decode()
    assert figure(text, "sent_total") == 8
    assert 'sent_total{kind="a"} 7.0' in text
    assert 'sent_total{kind="b \\"quoted\\"\\n"} 1.0' in text
    assert (figure(text, "open"), figure(text, "depth")) == (7, 4)
    assert 'seconds_bucket{le="5.0"} 2.0' in text
    assert (figure(text, "seconds_count"), figure(text, "seconds_sum")) == (2, 7)
    assert text.count("# TYPE sent_total counter") == 1


def test_what_was_shown_once_never_falls(tmp_path: Path) -> None:
    first = Process(tmp_path, 1)
    first.sent.labels("a").inc(5)
    first.open.set(9)
    first.figures.own()
    other = Process(tmp_path, 0)
    meanwhile = merge([other.figures.own().decode(), other.figures.remains(1)]).decode()
    assert (figure(meanwhile, "sent_total"), figure(meanwhile, "open")) == (5, 0)
    second = Process(tmp_path, 1)
    second.sent.labels("a").inc(2)
    assert figure(second.figures.own().decode(), "sent_total") == 7
    third = Process(tmp_path, 1)
    assert figure(third.figures.own().decode(), "sent_total") == 7
