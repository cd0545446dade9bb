"""A message whose attempt kills the process: it is held after three deaths, and holds up nobody else."""

from __future__ import annotations

import contextlib
import smtplib
import sys

import pytest

from tests.support.relay_process import RelayProcess

GOOD = 100
DEATHS = 3


def hand_in(relay: RelayProcess, name: str) -> str:
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=30) as client:
        client.ehlo()
        client.mail("a@sender.test")
        client.rcpt(f"{name}@receiver.test")
        code, text = client.data(f"Subject: {name}\r\n\r\nx\r\n")
        assert code == 250
        client.close()
    return text.decode().rpartition(" ")[2]


@pytest.mark.timeout(180)
def test_a_message_that_kills_the_process_is_held(relay: RelayProcess) -> None:
    """Three deaths at the most, then the relay lives, 100 others are through, and somebody is told."""
    relay.options = {"queue": {"lease": "1s"}, "dispatch": {"active": "false"}}
    relay.start()
    poison = hand_in(relay, "poison")
    good = [hand_in(relay, f"good{number}") for number in range(GOOD)]
    token = relay.cli("tokens", "add", "look", "--admin")["token"]
    assert relay.stop() == 0

    relay.command = (sys.executable, "-m", "tests.support.killed_by_poison")
    relay.options = {"queue": {"lease": "1s"}}
    deaths = 0
    while True:
        with contextlib.suppress(AssertionError):  # it may die before it is ready
            relay.start()
        if relay.process is not None and is_held(relay, poison):
            break
        relay.kill()
        deaths += 1
        assert deaths <= DEATHS
    assert deaths == DEATHS
    shown = relay.cli("messages", "show", poison)
    assert [one["state"] for one in shown["recipients"]] == ["held"]
    (held,) = [event for event in relay.cli("messages", "events", poison)["items"] if event["kind"] == "held"]
    assert "3 times in a row" in held["facts"]["reason"]
    assert f"{poison} held " in relay.log
    assert "stagepost_held_after_deaths_total 1.0" in relay.request("GET", "/metrics").body
    for message in good:
        while state_of(relay, message, token) == "open":
            pass
        assert state_of(relay, message, token) == "captured"
    assert relay.process is not None
    assert relay.process.poll() is None


def state_of(relay: RelayProcess, message: str, token: str) -> str:
    return str(relay.request("GET", f"/v1/messages/{message}?tenant=default", token).body["state"])


def is_held(relay: RelayProcess, message: str) -> bool:
    """Whether it comes to that before the process dies."""
    assert relay.process is not None
    while relay.process.poll() is None:
        with contextlib.suppress(OSError):
            if relay.request("GET", "/metrics").body.find("stagepost_held_after_deaths_total 1.0") >= 0:
                return True
    return False
