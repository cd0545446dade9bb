"""The metrics: what a Prometheus server reads is valid, and counts what happened."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relay.metrics import Metrics
from relay.model.delivery import Category, Verdict
from relay.model.event import Event, EventKind
from relay.model.message import QueueId, Source


def read(metrics: Metrics) -> dict[str, float]:
    """Every sample by name and labels."""
    samples = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def test_the_exposition_is_valid_and_every_name_is_ours() -> None:
    samples = read(Metrics())
    assert samples
    assert all(name.startswith("stagepost_") for name in samples)


def test_series_exist_before_the_first_event() -> None:
    samples = read(Metrics())
    for source in Source:
        assert samples[f"stagepost_messages_accepted_total{{source={source.value}}}"] == 0
    for kind in EventKind:
        assert samples[f"stagepost_events_total{{kind={kind.value}}}"] == 0


def test_what_happened_is_counted() -> None:
    metrics = Metrics()
    metrics.accepted(Source.REST, 3, 4096)
    metrics.events((Event(EventKind.SENT, 0, "t", QueueId("1")), Event(EventKind.SENT, 0, "t", QueueId("1"))))
    metrics.outcome(Verdict.SENT, Category.NONE)
    metrics.outcome(Verdict.FAILED, Category.MAILBOX)
    metrics.outcome(Verdict.FAILED, Category.MAILBOX)
    samples = read(metrics)
    assert samples["stagepost_messages_accepted_total{source=rest}"] == 1
    assert samples["stagepost_recipients_accepted_total{}"] == 3
    assert samples["stagepost_content_bytes_accepted_total{}"] == 4096
    assert samples["stagepost_events_total{kind=sent}"] == 2
    assert samples["stagepost_outcomes_total{category=none,verdict=sent}"] == 1
    assert samples["stagepost_outcomes_total{category=mailbox,verdict=failed}"] == 2


def test_two_instances_in_one_process_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    one.attempts.inc()
    assert read(one)["stagepost_attempts_total{}"] == 1
    assert read(other)["stagepost_attempts_total{}"] == 0


@pytest.mark.parametrize("seconds", [[], [0.0], [0.001, 0.0011, 7, 300, 300.5, 1e9], [0.02] * 50])
def test_durations_are_shown_as_the_library_shows_them(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    bounds = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
    library = Histogram(
        "stagepost_delivery_seconds", "From acceptance (or send-at) to sent", buckets=bounds, registry=registry
    )
    metrics = Metrics()
    for each in seconds:
        library.observe(each)
        metrics.delivery_seconds.observe(each)
    assert generate_latest(registry).decode() in generate_latest(metrics.registry).decode()
