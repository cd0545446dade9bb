"""Conversations with the door, each in a text file under dialogs/.

A file begins with what it shows (`#`), then what is given (`given NAME VALUE`: a setting of the door, `max_size`,
`max_recipients`, `tls yes`, `user NAME SECRET [SENDER…]`, or `fails WHERE HOW`). Then, line by line:

    -> TEXT      the client says a line
    => TEXT      the client sends exactly this, with Python's escapes
    <- GLOB      the door answers a line like this (`*` any text, `?` any character)
    <* GLOB      … a reply of several lines whose last line is this; the others are not looked at
    <+ GLOB      … a reply of several lines, one of which is this (and stays, to be asked for more)
    <-|          the door closes the connection
    tls          the client secures the connection
    message F    the next message intake got, in Python's escapes: F is its content
    messages N   how many there were in all
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from relay.errors import Refusal, Rejected, StoreUnavailable
from relay.ingress.settings import AuthWithoutTls, BareNewlines
from tests.ingress.conftest import Certificates, Client, OpenADoor, OpenDoor

DIALOGS = sorted((Path(__file__).parent / "dialogs").glob("*.txt"))
FAULTS = {
    "store": StoreUnavailable("postgres://relay:S3cret@db is gone"),
    "bug": RuntimeError("postgres://relay:S3cret@db"),
    "timeout": TimeoutError("S3cret"),
    "reset": ConnectionResetError("S3cret"),
    "full": Rejected(Refusal.QUEUE_FULL),
    "stopping": Rejected(Refusal.SHUTTING_DOWN),
    "header": Rejected(Refusal.BAD_CONTENT, "X-Stagepost-Priority: must be 0 to 3"),
}
NUMBERS = {"max_size", "max_recipients"}
SETTINGS: dict[str, Callable[[str], object]] = {
    "auth_without_tls": AuthWithoutTls,
    "bare_newlines": BareNewlines,
    "loopback_tenant": lambda text: None if text == "none" else text,
    "max_errors": int,
    "max_junk": int,
}


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, open_door: OpenADoor, certificates: Certificates) -> None:
    lines = _lines(path)
    given = [line.split(maxsplit=1)[1] for line in lines if line.startswith("given ")]
    door = await _prepare(given, open_door, certificates)
    client = await door.connect()
    heard: list[str] = []
    for line in lines:
        if not line.startswith("given "):
            await _play(line, client, door, certificates, heard)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


async def _prepare(given: list[str], open_door: OpenADoor, certificates: Certificates) -> OpenDoor:
    words = [line.split() for line in given]
    settings = {name: SETTINGS[name](values[0]) for name, *values in words if name in SETTINGS}
    door = await open_door(tls=certificates.server if ["tls", "yes"] in words else None, **settings)
    for name, *values in words:
        if name in NUMBERS:
            setattr(door.intake, name, int(values[0]))
        elif name == "user":
            door.people.add(values[0], values[1], allowed_senders=tuple(values[2:]))
        elif name == "fails":
            setattr(door.intake, {"MAIL": "refusal"}.get(values[0], values[0]), FAULTS[values[1]])
        elif name not in SETTINGS and name != "tls":
            pytest.fail(f"nothing is called {name}")
    return door


async def _play(line: str, client: Client, door: OpenDoor, certificates: Certificates, heard: list[str]) -> None:
    word, _, text = line.partition(" ")
    match word:
        case "->":
            client.say(text)
        case "=>":
            client.send(_octets(text))
        case "<-":
            answer = await client.hear()
            assert fnmatchcase(answer, text), f"wanted {text!r}, heard {answer!r}"
        case "<*":
            answers = await client.hear_reply()
            assert fnmatchcase(answers[-1], text), f"wanted {text!r}, heard {answers!r}"
        case "<+":
            heard[:] = heard or await client.hear_reply()
            assert any(fnmatchcase(answer, text) for answer in heard), f"wanted {text!r} in {heard!r}"
        case "<-|":
            assert await client.rest() == []
        case "tls":
            await client.start_tls(certificates.client)
            heard.clear()
        case "message":
            assert door.intake.messages[-1][1] == _octets(text)
        case "messages":
            assert len(door.intake.messages) == int(text)
        case _:
            pytest.fail(f"not a line of a dialogue: {line}")


def _octets(text: str) -> bytes:
    value = ast.literal_eval(f"b'{text}'")
    assert isinstance(value, bytes)
    return value


def test_there_are_dialogs() -> None:
    assert len(DIALOGS) > 30
