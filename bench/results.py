"""Writes `bench/RESULTS.md` from the JSON documents of the other programs, whatever of them there are.

    python -m bench.relay_throughput … --json > results/throughput-10.json
    python -m bench.results results/

Each row says what was asked, what was measured, the peer's figure of the same run, and whether that is enough.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.postfix_tools import PROJECT

Document = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of the table. `enough` None: measured and reported, nothing was asked."""

    what: str
    target: str
    figure: str
    peer: str = ""
    enough: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: "–"}[self.enough]
        return f"| {self.what} | {self.target} | {self.figure} | {self.peer} | {verdict} |"


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the JSON documents are")
    parser.add_argument("--notes", type=Path, help="Markdown that goes below the table")
    options = parser.parse_args()
    documents = {path.stem: json.loads(path.read_text()) for path in sorted(options.directory.glob("*.json"))}
    rows = [
        row
        for name, read in READERS
        for stem, found in documents.items()
        if stem.startswith(name)
        for row in read(found)
    ]
    text = _frame(list(documents.values())) + "\n".join(map(str, rows)) + "\n"
    if options.notes:
        text += f"\n{options.notes.read_text().strip()}\n"
    (PROJECT / "bench" / "RESULTS.md").write_text(text)
    return 0 if rows else 1


def _frame(documents: list[Document]) -> str:
    machine = documents[0]["machine"]
    dates = sorted(document["date"] for document in documents)
    commits = sorted({str(document["commit"]).split()[0] for document in documents})
    loads = sorted(document["machine"]["load_average"][0] for document in documents)
    postfix = next((document["postfix"] for document in documents if document["postfix"]), "none")
    return (
        "# Results\n\nWritten by `python -m bench.results`; how each figure is taken stands in README.md.\n\n"
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['filesystem']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}. Peer: Postfix {postfix}. Commits {', '.join(commits)}. "
        f"From {dates[0]} to {dates[-1]}, load average before a run {loads[0]} to {loads[-1]}.\n\n"
        "| what | at least | measured | peer in the same run | enough |\n|---|---|---|---|---|\n"
    )


def _throughput(document: Document) -> list[Row]:
    sessions, storage = document["parameters"]["sessions"], document["parameters"]["storage"]
    extra = f", {', '.join(document['parameters']['set'])}" if document["parameters"]["set"] else ""
    ours, peer = document["medians"]["stagepost"], document["medians"].get("postfix")
    figure = f"{ours['accepted_per_s']} accepted/s, {ours['delivered_per_s']} delivered/s, {ours['cpu_seconds']} s CPU"
    if peer is None:
        return [Row(f"SMTP in and out, {sessions} sessions, {storage}{extra}", "reported", figure)]
    ratios = document["ratios_to_postfix"]["stagepost"]
    times = {10: 5, 50: 8}.get(sessions, 1)
    return [
        Row(
            f"SMTP in and out, {sessions} sessions, {storage}{extra}",
            f"{times} × Postfix",
            f"{figure}: {ratios['accepted_per_s']} × and {ratios['delivered_per_s']} ×",
            f"{peer['accepted_per_s']} / {peer['delivered_per_s']}",
            min(ratios.values()) >= times,
        )
    ]


def _rest(document: Document) -> list[Row]:
    result = document["result"]
    single, batch = result["single"], result["batches_of_100"]
    return [
        Row(
            f"`POST /v1/messages`, {single['clients']} clients, while dispatch delivers",
            "4 000 messages/s",
            f"{single['messages_per_s']} messages/s, p50 {single['request_ms']['p50']} p99 {single['request_ms']['p99']} ms",
            enough=single["messages_per_s"] >= 4000,
        ),
        Row(
            f"batches of 100, {batch['clients']} clients, while dispatch delivers",
            "10 000 messages/s",
            f"{batch['messages_per_s']} messages/s, p99 {batch['request_ms']['p99']} ms a batch",
            enough=batch["messages_per_s"] >= 10_000,
        ),
        Row("authentication of a request", "reported", f"{result['authentication_us']} µs"),
    ]


def _latency(document: Document) -> list[Row]:
    idle = {relay: phases["idle"]["accepted_to_sink_data_ms"] for relay, phases in document["relays"].items()}
    peer = f"{idle['postfix']['p50']} ms" if "postfix" in idle else ""
    median = idle["stagepost"]["p50"]
    return [Row("from 250 to the sink's DATA, idle, median", "≤ 2 ms", f"{median} ms", peer, median <= 2)]


def _queue(document: Document) -> list[Row]:
    result, storage = document["result"], document["parameters"]["storage"]
    claim, most = result["claim_of_ten_ms"], 5 if storage == "sqlite" else 10
    what = f"a queue of {result['messages']:,} messages, {storage}"
    return [
        Row(
            f"{what}: claim of ten, p99",
            f"≤ {most} ms",
            f"{claim['p99']} ms (p50 {claim['p50']})",
            enough=claim["p99"] <= most,
        ),
        Row(f"{what}: start", "≤ 5 s", f"{result['start_seconds']} s", enough=result["start_seconds"] <= 5),
        Row(
            f"{what}: resident memory",
            "≤ 200 MiB",
            f"{result['resident_mib']} MiB",
            enough=result["resident_mib"] <= 200,
        ),
        Row(f"{what}: /metrics", "≤ 100 ms", f"{result['metrics_ms']} ms", enough=result["metrics_ms"] <= 100),
    ]


def _instances(document: Document) -> list[Row]:
    result = document["result"]
    return [
        Row(
            f"{result['instances']} instances on one PostgreSQL, {result['messages']:,} messages",
            "0 delivered twice",
            f"{result['duplicates']} twice; {result['delivered_per_s']} delivered/s",
            enough=result["duplicates"] == 0,
        )
    ]


def _limit(document: Document) -> list[Row]:
    result = document["result"]
    limit, each = result["limit_per_minute"], result["in_each_whole_minute"]
    return [
        Row(
            f"{result['instances']} instances under a limit of {limit} a minute, watched {result['watched_seconds']:.0f} s",
            f"never {limit + 1} in any 60 s; within 2 %",
            f"at most {result['most_in_any_minute']} in any 60 s; {', '.join(map(str, each))} in the whole minutes",
            enough=result["most_in_any_minute"] <= limit and min(each, default=0) >= 0.98 * limit,
        )
    ]


def _fairness(document: Document) -> list[Row]:
    result = document["result"]
    return [
        Row(
            f"{result['messages']} messages of a tenant beside {result['backlog_of_the_other']:,} of another, one account",
            "≤ 2 × alone",
            f"{result['beside_seconds']} s, alone {result['alone_seconds']} s: {result['ratio']} ×",
            enough=result["ratio"] <= 2,
        )
    ]


def _connections(document: Document) -> list[Row]:
    result = document["result"]
    return [
        Row(
            f"{result['connections']} connections, each 256 KiB into a message of 25 MB",
            "≤ 200 MB",
            f"{result['held_mib']} MiB (idle {result['idle_mib']})",
            enough=result["held_mib"] <= 200,
        )
    ]


READERS: tuple[tuple[str, Callable[[Document], list[Row]]], ...] = (
    ("throughput", _throughput),
    ("rest", _rest),
    ("latency", _latency),
    ("queue", _queue),
    ("instances", _instances),
    ("limit", _limit),
    ("fairness", _fairness),
    ("connections", _connections),
)
"""By the beginning of the document's name, in the order of the table."""


if __name__ == "__main__":
    sys.exit(main())
