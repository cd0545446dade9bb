"""How many messages a relay accepts and delivers in a second, beside the same figures of its peers.

`python -m bench.relay_throughput --relay postfix --relay stagepost` runs A B A B, each time with a new relay, an empty
store and a new sink, so that what else the machine does hits all alike; the medians are compared.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import report
from bench.contract import RunningRelay
from bench.postfix_tools import PostfixTools, find_tools
from bench.processes import BenchError, end_on_sigterm, scratch_directory
from bench.relays import RELAY_HELP, add_relay_options, relay_starter, setup_from
from bench.smtp_tools import Load, SinkCounter, smtp_sink, smtp_source
from bench.usage import UsageMeter, mebibytes

BASELINE = "postfix"


@dataclass(frozen=True)
class Run:
    """One run of one relay. Rates that could not be measured are None, and `error` says why."""

    relay: str
    accepted_per_s: float | None = None
    delivered_per_s: float | None = None
    accepted_seconds: float | None = None
    delivered_seconds: float | None = None
    received_by_sink: int = 0
    peak_memory_mib: float | None = None
    cpu_seconds: float | None = None
    database_peak_memory_mib: float | None = None
    database_cpu_seconds: float | None = None
    error: str | None = None


def main() -> int:
    """Measure as the command line asks; 0 if every run delivered every message."""
    options = _parse()
    end_on_sigterm()
    try:
        tools = find_tools()
        document = report.frame("relay_throughput", options, tools.version)
        document |= summary(_interleaved(options, tools))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document, indent=2) if options.json else _table(document))
    return 0 if all(run["error"] is None for run in document["runs"]) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.relay_throughput", description=__doc__)
    parser.add_argument("--relay", action="append", required=True, help=RELAY_HELP)
    parser.add_argument("--sessions", type=int, default=10, help="SMTP sessions at a time")
    parser.add_argument("--messages", type=int, default=10_000, help="messages a run")
    parser.add_argument("--size", type=int, default=4096, help="bytes of content a message")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each relay")
    parser.add_argument("--warmup", type=int, default=200, help="messages before the clock starts")
    parser.add_argument("--new-connections", action="store_true", help="one message a connection, then a new one")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds after which a run is given up")
    add_relay_options(parser)
    return parser.parse_args()


def _interleaved(options: argparse.Namespace, tools: PostfixTools) -> list[Run]:
    for relay in options.relay:
        relay_starter(relay)  # a wrong name shows before minutes are spent
    runs = []
    for turn in range(options.repeat):
        for relay in options.relay:
            with scratch_directory(options.work_dir) as directory:
                run = _measure(relay, options, tools, directory)
            runs.append(run)
            rates = f"accepted {run.accepted_per_s}/s, delivered {run.delivered_per_s}/s"
            print(f"{turn + 1}/{options.repeat} {relay}: {run.error or rates}", file=sys.stderr)
    return runs


def _measure(relay: str, options: argparse.Namespace, tools: PostfixTools, directory: Path) -> Run:
    setup = setup_from(options, relay, tools, directory)
    load = Load(options.messages, options.sessions, options.size, not options.new_connections)
    try:
        with smtp_sink(tools, setup.sink_port, directory) as sink, relay_starter(relay)(setup) as running:
            _warm_up(tools, running, sink, options)
            return _timed_run(relay, running, sink, load, tools, options.deadline)
    except BenchError as error:
        return Run(relay, error=str(error))


def _warm_up(tools: PostfixTools, running: RunningRelay, sink: SinkCounter, options: argparse.Namespace) -> None:
    """Processes forked, caches filled, connections opened: a relay is judged as it runs all day."""
    if options.warmup:
        load = Load(options.warmup, options.sessions, options.size, not options.new_connections)
        smtp_source(tools, running.port, load, options.deadline)
        if sink.wait_for(options.warmup, time.monotonic() + options.deadline) is None:
            raise BenchError(f"{sink.received} of {options.warmup} warm-up messages arrived")


def _timed_run(
    relay: str, running: RunningRelay, sink: SinkCounter, load: Load, tools: PostfixTools, deadline: float
) -> Run:
    before = sink.received
    with UsageMeter(running.pid) as usage, UsageMeter(running.database_pid) as database:
        start, accepted = smtp_source(tools, running.port, load, deadline)
        delivered = sink.wait_for(before + load.messages, start + deadline)
    arrived = sink.received - before
    return Run(
        relay,
        accepted_per_s=round(load.messages / (accepted - start), 1),
        delivered_per_s=None if delivered is None else round(load.messages / (delivered - start), 1),
        accepted_seconds=round(accepted - start, 3),
        delivered_seconds=None if delivered is None else round(delivered - start, 3),
        received_by_sink=arrived,
        peak_memory_mib=mebibytes(usage.peak),
        cpu_seconds=usage.cpu,
        database_peak_memory_mib=mebibytes(database.peak),
        database_cpu_seconds=database.cpu,
        error=f"{arrived} of {load.messages} messages arrived in {deadline:.0f} s" if delivered is None else None,
    )


def summary(runs: list[Run]) -> dict[str, Any]:
    """Each run, the medians of each relay, and their ratio to Postfix when it ran beside them."""
    fields = ("accepted_per_s", "delivered_per_s", "peak_memory_mib", "cpu_seconds")
    medians = {
        relay: {name: report.median([getattr(run, name) for run in runs if run.relay == relay]) for name in fields}
        for relay in dict.fromkeys(run.relay for run in runs)
    }
    ratios = {
        relay: {name: _ratio(figures[name], medians[BASELINE][name]) for name in fields[:2]}
        for relay, figures in medians.items()
        if BASELINE in medians and relay != BASELINE
    }
    return {"runs": [asdict(run) for run in runs], "medians": medians, "ratios_to_postfix": ratios}


def _ratio(value: float | None, baseline: float | None) -> float | None:
    return round(value / baseline, 2) if value is not None and baseline else None


def _table(document: dict[str, Any]) -> str:
    lines = [f"{'relay':<32}{'accepted/s':>12}{'delivered/s':>13}{'peak MiB':>10}{'CPU s':>8}"]
    for relay, figures in document["medians"].items():
        cells = ["-" if value is None else f"{value:.1f}" for value in figures.values()]
        lines.append(f"{relay:<32}{cells[0]:>12}{cells[1]:>13}{cells[2]:>10}{cells[3]:>8}")
    for relay, ratios in document["ratios_to_postfix"].items():
        lines.append(
            f"{relay} / {BASELINE}: {ratios['accepted_per_s']} accepted, {ratios['delivered_per_s']} delivered"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
