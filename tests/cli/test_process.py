"""The installed command as a process: what only a process of its own can show."""

from __future__ import annotations

import json
import os
import pty
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.cli.exits import Exit
from tests.support.relay_process import STAGEPOST, RelayProcess, relay_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    with relay_directory() as path:
        yield path


@pytest.fixture
def relay(directory: Path) -> Iterator[RelayProcess]:
    with RelayProcess(directory, f"sqlite://{directory}/data/mail.db") as relay:
        relay.write_config()
        yield relay


def stagepost(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STAGEPOST, *arguments], input=stdin, capture_output=True, text=True, timeout=60, env={**os.environ, **environ}
    )


def test_a_message_of_an_idle_instance_is_captured_once_it_runs(relay: RelayProcess) -> None:
    sent = relay.cli("send", "-", "--to", "bob@example.com", stdin="From: ann@example.com\nSubject: Hi\n\nHello.\n")
    assert relay.cli("messages", "show", sent["id"])["state"] == "open"
    relay.start()
    assert [one["id"] for one in relay.cli("messages", "list")["items"]] == [sent["id"]]
    assert relay.stop() == 0, relay.log
    assert relay.cli("messages", "show", sent["id"])["state"] == "captured"


def test_a_relay_that_takes_no_mail_yet_is_not_ready(relay: RelayProcess) -> None:
    idle = stagepost("health", "--config", str(relay.config))
    assert idle.returncode == Exit.TEMPORARY, idle.stderr
    assert "not started" in idle.stderr + idle.stdout
    relay.start()
    assert relay.cli("health")["status"] == "ready"


def test_serve_exits_with_the_reason(relay: RelayProcess) -> None:
    bad = stagepost("serve", "--config", str(relay.config), STAGEPOST_QUEUE_LEASE="soon")
    assert bad.returncode == Exit.CONFIG
    assert bad.stderr.startswith("stagepost: STAGEPOST_QUEUE_LEASE: [queue] lease = soon: is not a duration")
    relay.start()
    second = stagepost("serve", "--config", str(relay.config))
    assert second.returncode not in {0, 1, Exit.USAGE}
    assert second.stderr.count("\n") == 1, second.stderr
    assert "Traceback" not in second.stderr
    taken = stagepost("serve", "--config", str(relay.config), STAGEPOST_SERVER_DATA_DIR=str(relay.directory / "other"))
    assert taken.returncode not in {0, 1, Exit.USAGE}
    assert str(relay.smtp_port) in taken.stderr
    assert taken.stderr.count("\n") == 1, taken.stderr


def test_serve_with_json_logs_json(relay: RelayProcess) -> None:
    command = [STAGEPOST, "serve", "--config", str(relay.config), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "is ready" in process.stdout.readline()
            sent = relay.cli("send", "-", "--to", "bob@example.com", stdin="From: ann@example.com\n\nHello.\n")
            assert json.loads(process.stderr.readline())["id"] == sent["id"]
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_a_closed_pipe_is_no_error_to_speak_of(relay: RelayProcess) -> None:
    body = "x" * 70 + "\n"
    sent = relay.cli("send", "-", "--to", "bob@example.com", stdin="From: ann@example.com\n\n" + body * 3000)
    command = f"{STAGEPOST} messages content {sent['id']} --config {relay.config} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_person_is_asked_for_the_password_unseen(relay: RelayProcess) -> None:
    arguments = ["accounts", "add", "main", "--tenant", "default", "--host", "h.example.com", "--user", "me"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(STAGEPOST, [STAGEPOST, *arguments, "--config", str(relay.config)])
    said = b""
    for prompt in (b"password: ", b"confirmation: "):
        while prompt not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, b"hunter2\n")
    try:
        while more := os.read(terminal, 1024):
            said += more
    except OSError:  # the other side of a pseudo-terminal ends so
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert b"has_password" in said
    assert b"hunter2" not in said
    assert relay.cli("accounts", "show", "main")["has_password"] is True


def others_may_read(*paths: str) -> bool:
    return all(parent.stat().st_mode & 0o001 for path in paths for parent in Path(path).resolve().parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another")
@pytest.mark.skipif(not others_may_read(os.__file__, STAGEPOST, __file__), reason="only root can read this interpreter")
def test_root_acts_as_the_owner_of_the_data_directory(relay: RelayProcess) -> None:
    nobody = pwd.getpwnam("nobody")
    data = relay.directory / "data"
    data.mkdir(mode=0o700)
    for path in (relay.directory, data):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    assert relay.cli("tenants", "list")["items"]
    assert {path.stat().st_uid for path in [data, *data.rglob("*")]} == {nobody.pw_uid}
    assert (data / "mail.db").exists()
