"""Figures: the metrics of all workers as one instance's.

Counters and histograms are added up, and so are gauges, but for those that every worker knows of the whole instance. What a
worker has ever shown stays in a file of its own: its next life adds it to what it counts, and while it does not answer the
others take it from there. So no counter falls, which a scraper would take for a start from zero.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

_LASTING = frozenset({"counter", "histogram"})


class _Families:
    """What `generate_latest` asks of a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """In order."""
        yield from self._families


def merge(texts: Sequence[str], largest: Set[str] = frozenset()) -> bytes:
    """One exposition of several; of the gauges named in `largest` the largest, of everything else the sum."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known = values.setdefault(kept.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                before = known.get(key)
                if before is None:
                    known[key] = sample.value
                else:
                    known[key] = max(before, sample.value) if family.name in largest else before + sample.value
    for name, family in families.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return _write(families.values())


def lasting(text: str) -> bytes:
    """What stays of an exposition when its process has ended: counters and histograms."""
    return _write(family for family in text_string_to_metric_families(text) if family.type in _LASTING)


def _write(families: Iterable[Metric]) -> bytes:
    octets: bytes = generate_latest(_Families(families))
    return octets


def remains_path(directory: Path, number: int) -> Path:
    """Where a worker's figures stay."""
    return directory / f"w{number}.metrics"


class Figures:
    """One worker's, with what its former lives have counted."""

    def __init__(self, registry: CollectorRegistry, directory: Path, number: int) -> None:
        self._registry = registry
        self._directory = directory
        self._path = remains_path(directory, number)
        self._before = self.remains(number)

    def own(self) -> bytes:
        """They are shown from now on, so they stay."""
        shown = generate_latest(self._registry).decode()
        if self._before:
            shown = merge((shown, self._before)).decode()
        temporary = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk must not hide the figures that tell of it
            temporary.write_bytes(lasting(shown))
            temporary.replace(self._path)
        return shown.encode()

    def remains(self, number: int) -> str:
        """What a worker that does not answer has last shown."""
        try:
            return remains_path(self._directory, number).read_text()
        except OSError:
            return ""
