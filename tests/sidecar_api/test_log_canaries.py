"""What clients hand in reaches no log: bodies, tokens and passwords as canaries, with everything logged at DEBUG."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar_api.route import RFC822, Route
from sidecar_api.routes import ROUTES
from sidecar_api.schemas.examples import example_of
from tests.support.relay_process import RelayProcess, relay_directory

CANARY = "canary8f21"
RAW = f"From: a@a.example\nTo: b@b.example\nSubject: {CANARY}\n\n{CANARY}\n".encode()


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    with relay_directory() as directory:
        options = {"server": {"data_dir": str(directory / "data"), "log_level": "debug"}}
        with RelayProcess(directory, f"sqlite://{directory}/mail.db", options) as relay:
            relay.start()
            yield relay


def _ask(relay: RelayProcess, route: Route, body: bytes, headers: Mapping[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", relay.api_port, timeout=30)
    path = route.path.replace("{", "").replace("}", "")
    try:
        connection.request(route.method, path, body or None, {"Content-Type": route.media_types[0], **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def _with_canaries(value: Any) -> Any:
    """The same with a canary for every free text, and as a field that is not known."""
    if isinstance(value, dict):
        return {name: _with_canaries(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_canaries(one) for one in value]
    return CANARY if isinstance(value, str) and "@" not in value else value


def _bodies(route: Route) -> Iterator[bytes]:
    """Bodies that are taken, refused, malformed and compressed."""
    if route.media == RFC822:
        yield from (RAW, f"{CANARY}\n\n{CANARY}".encode())
    elif route.body is None:
        yield b""
    else:
        example: Any = example_of(route.body)
        free = _with_canaries(example)
        if route.hands_in:  # by its id a message is found in the log
            free["messages"][0] |= {"id": example["messages"][0]["id"], CANARY: CANARY, "headers": {CANARY: CANARY}}
        for value in (example, free, {**example, "unknown": CANARY}, CANARY, [CANARY]):
            yield orjson.dumps(value)
        yield f'{{"{CANARY}": "{CANARY}'.encode()


def test_no_body_and_no_token_is_logged(relay: RelayProcess) -> None:
    directory: Path = relay.directory
    secret = relay.cli("tokens", "add", "canaries", "--admin")["token"]
    seen: set[int] = set()
    for route in ROUTES:
        if route.method == "DELETE":
            continue
        for number, body in enumerate(_bodies(route)):
            good = {
                "Authorization": f"Bearer {secret}",
                "X-API-Token": secret,
                "Cookie": CANARY,
                "X-Request-ID": f"{route.name}-{number}",
            }
            seen.add(_ask(relay, route, body, good))
            seen.add(_ask(relay, route, gzip.compress(body), {**good, "Content-Encoding": "gzip"}))
            seen.add(_ask(relay, route, body, {"Authorization": f"Bearer {CANARY}", "X-API-Token": CANARY}))
    assert relay.stop() == 0
    log = (directory / "relay.log").read_text()
    assert "submit-0" in log  # the lines of the requests are there
    assert {202, 400, 401, 422} <= seen
    assert CANARY not in log
    assert secret not in log
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
