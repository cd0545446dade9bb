"""What fifty messages of 25 MB at once cost a relay in resident memory.

All senders are held in the middle of DATA until every one of them is there, and again before the final dot, so that the
messages truly are in the relay together; smtp-sink takes them out again. Senders, sink and relay are processes apart.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import report
from bench.contract import RunningRelay
from bench.conversation import Conversation, filler, together
from bench.postfix_tools import PostfixTools, find_tools
from bench.processes import BenchError, end_on_sigterm, scratch_directory
from bench.relays import add_relay_options, relay_starter, setup_from
from bench.smtp_tools import RECIPIENT, SENDER, Load, SinkCounter, smtp_sink, smtp_source
from bench.usage import UsageMeter, mebibytes, memory, reset_peak

BLOCK = filler(64 * 1024)
WARM_UP = Load(messages=200, sessions=10, size=4096, keep_connections=True)
SETTLE = 2.0  # seconds after the warm-up in which an idle relay may give memory back


def main() -> int:
    """Measure as the command line asks."""
    options = _parse()
    end_on_sigterm()
    try:
        tools = find_tools()
        document = report.frame("memory", options, tools.version)
        with scratch_directory(options.work_dir) as directory:
            document["result"] = _measure(options, tools, directory)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document if options.json else document["result"], indent=2))
    return 0 if document["result"]["received_by_sink"] == options.connections else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--relay", default="stagepost", help="stagepost or postfix")
    parser.add_argument("--connections", type=int, default=50, help="messages and connections at once")
    parser.add_argument("--size", type=int, default=25_000_000, help="bytes of a message")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds after which it is given up")
    add_relay_options(parser)
    return parser.parse_args()


def _measure(options: argparse.Namespace, tools: PostfixTools, directory: Path) -> dict[str, Any]:
    setup = setup_from(options, options.relay, tools, directory, max_connections=options.connections)
    with smtp_sink(tools, setup.sink_port, directory) as sink, relay_starter(options.relay)(setup) as running:
        if running.pid is None:
            raise BenchError("memory can be read only of a relay that is started here: stagepost or postfix")
        _warm_up(tools, running, sink, options.deadline)
        idle = memory(running.pid)
        reset_peak(running.pid)
        start = time.monotonic()
        with UsageMeter(running.pid) as usage:
            uvloop.run(_send_all(running.port, options))
            accepted = time.monotonic()
            delivered = sink.wait_for(WARM_UP.messages + options.connections, start + options.deadline)
        assert usage.peak is not None
        return {
            "relay": options.relay,
            "idle_mib": mebibytes(idle.resident),
            "peak_mib": mebibytes(usage.peak),
            "sampled_peak_mib": mebibytes(usage.peak_resident),
            "over_idle_mib": mebibytes(usage.peak - idle.resident),
            "cpu_seconds": usage.cpu,
            "received_by_sink": sink.received - WARM_UP.messages,
            "accepted_seconds": round(accepted - start, 2),
            "delivered_seconds": None if delivered is None else round(delivered - start, 2),
        }


def _warm_up(tools: PostfixTools, running: RunningRelay, sink: SinkCounter, deadline: float) -> None:
    """Idle means: has worked and has nothing to do now, not: has never loaded its code."""
    smtp_source(tools, running.port, WARM_UP, deadline)
    if sink.wait_for(WARM_UP.messages, time.monotonic() + deadline) is None:
        raise BenchError(f"{sink.received} of {WARM_UP.messages} warm-up messages arrived")
    time.sleep(SETTLE)


async def _send_all(port: int, options: argparse.Namespace) -> None:
    barrier = asyncio.Barrier(options.connections)
    try:
        async with asyncio.timeout(options.deadline):
            await together(_send(port, options.size, barrier) for _ in range(options.connections))
    except TimeoutError:
        raise BenchError(f"the relay had not accepted all messages after {options.deadline:.0f} s") from None


async def _send(port: int, size: int, barrier: asyncio.Barrier) -> None:
    """One message: half of it, wait for the others, the rest, wait again, the dot."""
    header = b"Subject: memory\r\n\r\n"
    blocks, rest = divmod(size - len(header), len(BLOCK))
    async with Conversation.open(port) as session:
        await session.begin(SENDER, RECIPIENT, size)
        await session.content(header)
        for number in range(blocks):
            if number == blocks // 2:
                await barrier.wait()
            await session.content(BLOCK)
        await session.content(filler(rest))
        await barrier.wait()
        await session.content(b".\r\n")
        await session.expect("250")


if __name__ == "__main__":
    sys.exit(main())
