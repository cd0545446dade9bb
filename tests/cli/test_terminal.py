"""What a person sees and is asked: in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import smtplib
import struct
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.relay_process import STAGEPOST, RelayProcess, relay_directory

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LONG = "somebody.with.a.very.long.name@department.organisation.example"


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_directory() as directory, RelayProcess(directory, f"sqlite://{directory}/mail.db") as relay:
        relay.start()
        with smtplib.SMTP("127.0.0.1", relay.smtp_port) as door:
            for number in range(30):
                door.sendmail("ann@example.com", [LONG, f"b{number}@example.com"], "Subject: Hi\n\nHello.\n")
        yield relay
        assert relay.stop() == 0, relay.log


def at_terminal(
    relay: RelayProcess,
    *arguments: str,
    answers: Sequence[tuple[str, str]] = (),
    columns: int = 80,
    lines: int = 24,
    **environ: str,
) -> tuple[int, str]:
    """Run a command in a terminal of that size, give each answer when its question is there; exit code and screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        kept = {
            name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR", "PAGER"}
        }
        os.execve(
            STAGEPOST, [STAGEPOST, "--config", str(relay.config), *arguments], {**kept, "TERM": "xterm", **environ}
        )
    screen = b""
    waiting = [(question.encode(), answer.encode()) for question, answer in answers]
    seen = 0
    try:
        while more := os.read(terminal, 4096):
            screen += more
            while waiting and waiting[0][0] in screen[seen:]:
                seen = len(screen)
                os.write(terminal, waiting.pop(0)[1] + b"\n")
    except OSError:  # the other side of a pseudo-terminal ends so
        pass
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert not waiting, (waiting, screen)
    return code, screen.decode().replace("\r\n", "\n")


def test_colour_on_a_terminal_unless_not_wanted(relay: RelayProcess) -> None:
    code, screen = at_terminal(relay, "messages", "list", "--limit", "3")
    assert (code, "\x1b[32mcaptured" in screen) == (0, True)
    code, screen = at_terminal(relay, "messages", "list", "--limit", "3", NO_COLOR="1")
    assert (code, "\x1b" in screen, "captured" in screen) == (0, False, True)
    code, screen = at_terminal(relay, "messages", "show", "nosuch")
    assert (code, screen.startswith("\x1b[31mstagepost:")) == (1, True)


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_a_table_fits_and_ids_stay_whole(relay: RelayProcess, columns: int) -> None:
    listed = relay.cli("messages", "list", "--limit", "3")["items"]
    _, screen = at_terminal(relay, "messages", "list", "--limit", "3", columns=columns, lines=100)
    lines = ANSI.sub("", screen).splitlines()
    assert max(map(len, lines)) <= columns, screen
    if columns == 60:
        assert lines[0] == f"Message   {listed[0]['id']}", "no table fits: one after the other"
        return
    for one in listed:
        assert any(line.startswith(one["id"]) and one["accepted_at"] in line for line in lines), screen
    assert ("Account" in lines[0]) == (columns >= 120), "what is spare goes first"
    to = lines[0].index("To")
    assert "".join(line[to:].strip() for line in lines[1:]).count(LONG) == 3, "what is folded is all there"


@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits(relay: RelayProcess, columns: int) -> None:
    for arguments in ([], ["messages", "list"], ["accounts", "add"], ["instances", "start"]):
        code, screen = at_terminal(relay, *arguments, "--help", columns=columns)
        assert code == 0
        assert max(map(len, screen.splitlines())) <= columns, screen


def test_a_long_list_is_paged_and_a_short_one_is_not(relay: RelayProcess) -> None:
    pager = "sh -c 'echo PAGED; cat'"
    _, screen = at_terminal(relay, "messages", "list", STAGEPOST_PAGER=pager)
    assert screen.startswith("PAGED")
    _, screen = at_terminal(relay, "messages", "list", "--limit", "2", STAGEPOST_PAGER=pager)
    assert "PAGED" not in screen
    _, screen = at_terminal(relay, "messages", "list", PAGER="cat", columns=200)
    assert len(screen.splitlines()) == 31, screen
    code, screen = at_terminal(relay, "messages", "list", STAGEPOST_PAGER="head -n 1")
    assert (code, "Traceback" in screen) == (0, False), "a pager that is left early is no error"


def test_a_person_is_asked_for_what_is_missing(relay: RelayProcess) -> None:
    code, screen = at_terminal(relay, "tenants", "add", answers=[("Tenant: ", "asked")])
    assert code == 0, screen
    assert relay.cli("tenants", "show", "asked")["id"] == "asked"
    answers = [
        *(("Account: ", "main"), ("Tenant (* for all): ", "asked"), ("Host: ", "smtp.example.com")),
        *(
            ("TLS", ""),
            ("Port [587]: ", ""),
            ("login)", "me"),
            ("password: ", "hunter2"),
            ("confirmation: ", "hunter2"),
        ),
    ]
    code, screen = at_terminal(relay, "accounts", "add", answers=answers)
    assert code == 0, screen
    assert "hunter2" not in screen
    made = relay.cli("accounts", "show", "main", "--tenant", "asked")
    assert (made["host"], made["port"], made["tls"], made["has_password"]) == (
        "smtp.example.com",
        587,
        "starttls",
        True,
    )


def test_a_password_from_standard_input_is_asked_for_where_that_is_a_terminal(relay: RelayProcess) -> None:
    arguments = (
        "accounts",
        "add",
        "piped",
        "--shared",
        "--host",
        "smtp.example.com",
        "--user",
        "me",
        "--password-stdin",
    )
    code, screen = at_terminal(relay, *arguments, answers=[("password: ", "hunter2"), ("confirmation: ", "hunter2")])
    assert (code, "hunter2" in screen) == (0, False), screen


def test_an_account_that_keeps_its_mail_shows_no_way_out(relay: RelayProcess) -> None:
    _, screen = at_terminal(relay, "accounts", "list", columns=120, NO_COLOR="1")
    (kept,) = [line.split()[2:6] for line in screen.splitlines() if line.split()[:2] == ["capture", "default"]]
    assert kept == ["capture", "-", "-", "-"], screen


def test_a_person_is_asked_before_what_cannot_be_undone(relay: RelayProcess) -> None:
    relay.cli("tenants", "add", "doomed")
    code, screen = at_terminal(relay, "tenants", "delete", "doomed", answers=[("[y/N]: ", "n")])
    assert (code, "interrupted" in screen) == (130, True)
    assert relay.cli("tenants", "show", "doomed")
    code, _ = at_terminal(relay, "tenants", "delete", "doomed", answers=[("[y/N]: ", "y")])
    assert code == 0


def test_a_token_is_asked_for_unseen(relay: RelayProcess, tmp_path: Path) -> None:
    token = relay.cli("tokens", "add", "asked", "--admin")["token"]
    # --config stands before the noun; what stands behind the verb wins.
    arguments = ("tenants", "list", "--url", f"http://127.0.0.1:{relay.api_port}")
    code, screen = at_terminal(relay, *arguments, answers=[(": ", token)])
    assert (code, "default" in screen, token in screen) == (0, True, False), screen


def test_yes_and_no_are_no_praise_and_no_blame(relay: RelayProcess) -> None:
    _, screen = at_terminal(relay, "tenants", "show", "default")
    assert re.search(r"suspended +(\x1b\[[0-9;]*m)?", screen)
    assert "\x1b[31mno" not in screen


def test_what_is_empty_is_said_in_its_place(relay: RelayProcess) -> None:
    later = relay.cli("send", "-", "--send-at", "+1h", stdin=f"From: a@a.example\nTo: {LONG}\n\nx\n")["id"]
    _, screen = at_terminal(relay, "messages", "show", "-H", later, lines=100, columns=120)
    lines = ANSI.sub("", screen).splitlines()
    assert (lines[0].split()[0], lines[-1]) == ("id", "There are none."), screen


def test_a_noun_alone_is_explained(relay: RelayProcess) -> None:
    code, screen = at_terminal(relay, "queue")
    assert (code, "\nCommands:\n" in screen) == (64, True), screen


def test_wide_characters_take_two_columns(relay: RelayProcess) -> None:
    for number in range(2):
        relay.cli("tenants", "add", f"wide{number}", "--name", "東京郵便局" * 2)
    _, screen = at_terminal(relay, "tenants", "list", columns=80)
    lines = ANSI.sub("", screen).splitlines()
    assert max(map(cell_len, lines)) <= 80, screen
    assert lines[0].split() == ["Tenant", "Name", "Default", "account", "Suspended"], "what is spare goes"
    assert screen.count("東京郵便局") == 4, screen
