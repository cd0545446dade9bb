"""How many messages the REST door takes in a second while dispatch delivers, how long a request takes, what a token costs.

The clients are kept HTTP/1.1 connections in one process, spoken raw, so that they cost less than the relay they load.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from aiohttp.test_utils import make_mocked_request

from bench import report
from bench.counting_sink import Ledger, counting_sink
from bench.instances_of_stagepost import Instance, instances
from bench.processes import LOOPBACK, BenchError, end_on_sigterm, free_port, scratch_directory
from bench.relays import default_work_directory
from relay.clock import MINUTE, SystemClock
from relay.model.tenant import Token
from relay.secrets import generate_token, token_hash
from sidecar_api.auth import Access, authenticate
from sidecar_api.client import Client
from storage import Store, open_store

MESSAGE = {
    "from": "sender@bench.example",
    "to": ["recipient@sink.example"],
    "subject": "bench",
    "text": ("x" * 69 + "\n") * 50,
}
ACCEPTED = (b" 202 ", b" 200 ")
WARMING = 500
"""Messages before anything is measured."""
TOKENS, ROUNDS = 200, 100
"""For the cost of authentication."""


def main() -> int:
    """Measure as the command line asks."""
    options = _parse()
    end_on_sigterm()
    try:
        document = report.frame("rest", options, "")
        with scratch_directory(options.work_dir) as directory:
            document["result"] = uvloop.run(_measure(options, directory))
    except (BenchError, OSError, TimeoutError) as error:
        print(f"error: {error!r}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document if options.json else document["result"], indent=2))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rest", description=__doc__)
    parser.add_argument("--clients", type=int, default=50, help="connections that hand in one message a request")
    parser.add_argument("--batch-clients", type=int, default=4, help="connections that hand in 100 messages a request")
    parser.add_argument("--requests", type=int, default=8000, help="single messages")
    parser.add_argument("--batches", type=int, default=160, help="requests of 100 messages")
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--deadline", type=float, default=300.0)
    parser.add_argument("--work-dir", type=Path, default=default_work_directory())
    parser.add_argument("--json", action="store_true", help="print the whole report as one JSON document")
    return parser.parse_args()


async def _measure(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    port = free_port()
    async with (
        counting_sink(port) as ledger,
        instances(directory, 1, port, storage=options.storage, account=["--max-connections", "20"]) as running,
    ):
        token = await _token(running[0])
        await _load(running[0], token, "/v1/messages", MESSAGE, WARMING, options.clients)
        before = _seen(ledger)
        single = await _load(running[0], token, "/v1/messages", MESSAGE, options.requests, options.clients)
        between = _seen(ledger)
        batch = {"messages": [MESSAGE] * 100}
        many = await _load(running[0], token, "/v1/messages/batch", batch, options.batches, options.batch_clients)
        after = _seen(ledger)
        _, public = await _load(running[0], None, "/health/live", None, 4000, 1, "GET")
        await ledger.wait_for(WARMING + options.requests + 100 * options.batches, options.deadline)
    return {
        "single": _figures(single, 1, between - before) | {"clients": options.clients},
        "batches_of_100": _figures(many, 100, after - between) | {"clients": options.batch_clients},
        "request_that_does_nothing_ms": report.distribution(public),
        "authentication": await _authentication(directory),
    }


async def _token(instance: Instance) -> str:
    async with Client.unix(instance.socket) as admin:
        made = await admin.request("POST", "/v1/tokens", json={"name": "bench", "tenant": "default"})
        return str(made["token"])


async def _load(
    instance: Instance, token: str | None, path: str, body: object, requests: int, clients: int, method: str = "POST"
) -> tuple[float, list[float]]:
    """Seconds for all of them, and for each."""
    octets = b"" if body is None else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", "Host: relay", f"Content-Length: {len(octets)}"]
    head += ["Content-Type: application/json"] if octets else []
    head += [f"Authorization: Bearer {token}"] if token else []
    request = "\r\n".join(head).encode() + b"\r\n\r\n" + octets
    left = iter(range(requests))
    start = time.monotonic()
    taken = await asyncio.gather(*(_client(instance.api_port, request, left) for _ in range(clients)))
    return time.monotonic() - start, [one for some in taken for one in some]


async def _client(port: int, request: bytes, left: Any) -> list[float]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    taken = []
    try:
        for _ in left:
            start = time.monotonic()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not any(code in head[:20] for code in ACCEPTED):
                raise BenchError(f"the relay answered {head[:60]!r}")
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            await reader.readexactly(int(lines[b"content-length"]))
            taken.append(time.monotonic() - start)
    finally:
        writer.close()
    return taken


def _seen(ledger: Ledger) -> int:
    """Messages that the next hop has had so far."""
    return len(ledger.ids)


def _figures(measured: tuple[float, Sequence[float]], messages: int, delivered: int) -> dict[str, Any]:
    seconds, taken = measured
    return {
        "messages_per_s": round(len(taken) * messages / seconds, 1),
        "delivered_meanwhile_per_s": round(delivered / seconds, 1),
        "request_ms": report.distribution(taken),
    }


async def _authentication(directory: Path) -> dict[str, float]:
    """Microseconds of `authenticate` by itself, in this process, on a real store: of a token that was met before, as of all
    requests but its first since something was changed, and of one that was not."""
    clock = SystemClock()
    store = await open_store(
        f"sqlite://{directory / 'tokens.db'}", holder="bench", lease=MINUTE, clock=clock, key_file=directory / "key"
    )
    try:
        secrets = [await _add_token(store, number) for number in range(TOKENS)]
        first = [await _time_of(store, clock, secret) for secret in secrets]
        again = [await _time_of(store, clock, secret) for _ in range(ROUNDS) for secret in secrets]
    finally:
        await store.close()
    return {"known_us": round(statistics.median(again), 2), "first_us": round(statistics.median(first), 2)}


async def _add_token(store: Store, number: int) -> str:
    token, secret = generate_token()
    await store.directory.add_token(Token(token, f"bench {number}", None), token_hash(secret))
    return secret


async def _time_of(store: Store, clock: SystemClock, secret: str) -> float:
    request = make_mocked_request("GET", "/v1/messages", headers={"Authorization": f"Bearer {secret}"})
    start = time.perf_counter()
    await authenticate(request, Access.READ, False, store.directory, clock)
    return (time.perf_counter() - start) * 1e6


if __name__ == "__main__":
    sys.exit(main())
