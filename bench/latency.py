"""How long a client waits for its 250, and how long the message then takes to the next hop.

First on idle relays, one message at a time, each delivered before the next is sent; then at given rates, where message i
is due at i/rate whatever the relay does meanwhile. Client and sink share one process and so one clock.

All relays run at the same time, and those that are not asked have nothing to do: the idle figures are taken from each in
turn, a few messages at a time. With `--deferred N` each Stagepost has a twin in whose queue N deferred messages lie.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import uvloop

from bench import report
from bench.contract import RunningRelay
from bench.conversation import Conversation, filler, together
from bench.postfix_tools import PostfixTools, find_tools
from bench.processes import BenchError, end_on_sigterm, scratch_directory
from bench.relays import RELAY_HELP, add_relay_options, relay_starter, setup_from
from bench.timed_sink import Arrivals, timed_sink

SENDER = "sender@bench.example"
WARM_UP = 20
IN_TURN = 10
"""Messages to one idle relay before the next one's turn."""


@dataclass(frozen=True)
class Sent:
    """The client's three instants of one message, and the recipient by which the sink knows it."""

    recipient: str
    mail: float
    dot: float
    accepted: float


@dataclass(frozen=True)
class Started:
    """A relay that runs."""

    name: str
    running: RunningRelay
    sink_port: int


def main() -> int:
    """Measure as the command line asks."""
    options = _parse()
    end_on_sigterm()
    try:
        tools = find_tools()
        document = report.frame("latency", options, tools.version)
        with contextlib.ExitStack() as stack:
            document["relays"] = uvloop.run(_phases(_start(options, tools, stack), options))
    except TimeoutError:
        print(f"error: not all messages had arrived after {options.deadline:.0f} s", file=sys.stderr)
        return 1
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document, indent=2) if options.json else _table(document))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--relay", action="append", required=True, help=RELAY_HELP)
    parser.add_argument("--messages", type=int, default=500, help="messages on the idle relay")
    parser.add_argument("--deferred", type=int, default=0, help="messages in the queue of each Stagepost's twin")
    parser.add_argument("--rate", action="append", type=float, default=[], help="messages a second; repeatable")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each rate is held")
    parser.add_argument("--sessions", type=int, default=10, help="connections that share the paced load")
    parser.add_argument("--size", type=int, default=4096, help="bytes of content a message")
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds after which a phase is given up")
    add_relay_options(parser)
    return parser.parse_args()


def _start(options: argparse.Namespace, tools: PostfixTools, stack: contextlib.ExitStack) -> list[Started]:
    """All of them, and the twins."""
    started = []
    for relay in options.relay:
        twins = [0, options.deferred] if options.deferred and relay.startswith("stagepost") else [0]
        for deferred in twins:
            directory = stack.enter_context(scratch_directory(options.work_dir))
            setup = replace(setup_from(options, relay, tools, directory), deferred=deferred)
            name = f"{relay}, {deferred} deferred" if deferred else relay
            started.append(Started(name, stack.enter_context(relay_starter(relay)(setup)), setup.sink_port))
    return started


async def _phases(relays: Sequence[Started], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of each load by the relay's name."""
    content = b"Subject: latency\r\n\r\n" + filler(options.size) + b".\r\n"
    async with contextlib.AsyncExitStack() as stack:
        arrivals = {one.name: await stack.enter_async_context(timed_sink(one.sink_port)) for one in relays}
        sent: dict[str, list[Sent]] = {one.name: [] for one in relays}
        async with asyncio.timeout(options.deadline):
            for one in relays:
                await _idle(one.running, arrivals[one.name], content, WARM_UP, "warmup")
            for first in range(0, options.messages, IN_TURN):
                for one in relays:
                    count = min(IN_TURN, options.messages - first)
                    sent[one.name] += await _idle(one.running, arrivals[one.name], content, count, f"idle-{first}")
        phases = {one.name: {"idle": _figures(sent[one.name], arrivals[one.name])} for one in relays}
        for rate in options.rate:
            for one in relays:
                async with asyncio.timeout(options.deadline):
                    figures = await _paced(one.running, arrivals[one.name], content, options, rate)
                phases[one.name][f"{rate:g}/s"] = figures
    return phases


async def _idle(running: RunningRelay, arrivals: Arrivals, content: bytes, messages: int, label: str) -> list[Sent]:
    """One at a time: the next message starts when the last has reached the sink."""
    sent = []
    async with Conversation.open(running.port) as session:
        for number in range(messages):
            sent.append(await _send(session, f"{label}-{number}@sink.example", content))
            await arrivals.wait_for(sent[-1].recipient)
    return sent


async def _send(session: Conversation, recipient: str, content: bytes) -> Sent:
    mail = time.monotonic()
    await session.begin(SENDER, recipient, len(content))
    dot = time.monotonic()  # content and dot leave in one write
    await session.content(content)
    await session.expect("250")
    return Sent(recipient, mail, dot, time.monotonic())


async def _paced(
    running: RunningRelay, arrivals: Arrivals, content: bytes, options: argparse.Namespace, rate: float
) -> dict[str, Any]:
    """Hold the rate over several connections; one that is still busy when a message is due makes that message late."""
    total = round(rate * options.seconds)
    start = time.monotonic() + 0.2
    due = iter([(number, start + number / rate) for number in range(total)])
    label = f"rate-{rate:g}"
    lists = await together(_worker(running, content, due, label) for _ in range(options.sessions))
    sent = [message for messages in lists for message in messages]
    end = max(message.accepted for message in sent)
    for message in sent:
        await arrivals.wait_for(message.recipient)
    return _figures(sent, arrivals) | {"achieved_per_s": round(total / (end - start), 1)}


async def _worker(running: RunningRelay, content: bytes, due: Iterator[tuple[int, float]], label: str) -> list[Sent]:
    sent = []
    async with Conversation.open(running.port) as session:
        for number, moment in due:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            sent.append(await _send(session, f"{label}-{number}@sink.example", content))
    return sent


def _figures(sent: Sequence[Sent], arrivals: Arrivals) -> dict[str, Any]:
    """Milliseconds; a negative time to the sink says that the DATA command was there before the client read its 250."""
    return {
        "messages": len(sent),
        "mail_to_250_ms": report.distribution([message.accepted - message.mail for message in sent]),
        "dot_to_250_ms": report.distribution([message.accepted - message.dot for message in sent]),
        "accepted_to_sink_data_ms": report.distribution(
            [arrivals.times[message.recipient] - message.accepted for message in sent]
        ),
        "dot_to_sink_data_ms": report.distribution(
            [arrivals.times[message.recipient] - message.dot for message in sent]
        ),
    }


def _table(document: dict[str, Any]) -> str:
    lines = [f"{'relay':<40}{'load':<10}{'dot to 250, ms p50/p99':>26}{'250 to sink DATA, ms p50/p99':>32}"]
    for relay, phases in document["relays"].items():
        for load, figures in phases.items():
            dot, data = figures["dot_to_250_ms"], figures["accepted_to_sink_data_ms"]
            cells = [f"{values['p50']:.2f} / {values['p99']:.2f}" for values in (dot, data)]
            lines.append(f"{relay:<40}{load:<10}{cells[0]:>26}{cells[1]:>32}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
