"""Named instances: real processes in the background."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay.cli.exits import Exit
from relay.instance import pid_file, serving_pid
from tests.support.relay_process import STAGEPOST, free_port, relay_directory


@dataclass(frozen=True, slots=True)
class Home:
    """Where the instances of a test are."""

    directory: Path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [STAGEPOST, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "STAGEPOST_INSTANCES": str(self.directory), **environ},
        )

    def start(self, name: str, **environ: str) -> Any:
        """On ports that no other test takes."""
        ports = ("--smtp-port", str(free_port()), "--api-port", str(free_port()))
        done = self.run("instances", "start", name, "--json", *ports, **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def home() -> Iterator[Home]:
    with relay_directory() as directory:
        one = Home(directory)
        yield one
        one.run("instances", "stop", "--all", "--force")


def test_the_life_of_two_instances(home: Home) -> None:
    first, second = (home.json("instances", "start", name) for name in ("one", "two"))
    assert first["admin_token"].startswith("sp_")
    ports = {address.rpartition(":")[2] for one in (first, second) for address in (*one["smtp"], *one["api"])}
    assert len(ports) == 4, "each has ports of its own"
    listed = home.json("instances", "list")["items"]
    assert [(one["name"], one["state"], one["pid"]) for one in listed] == [
        ("one", "running", first["pid"]),
        ("two", "running", second["pid"]),
    ]
    home.json("-i", "one", "tenants", "add", "acme")
    assert [one["id"] for one in home.json("tenants", "list", "-i", "two")["items"]] == ["default"]
    assert home.json("instances", "status", "one")["ready"] is True
    assert home.json("-i", "one", "info")["pid"] == first["pid"]
    again = home.run("instances", "start", "one")
    assert (again.returncode, f"process {first['pid']}" in again.stderr) == (Exit.FAILED, True)

    restarted = home.json("instances", "restart", "one")
    assert (restarted["smtp"], restarted["api"], restarted["admin_token"]) == (first["smtp"], first["api"], None)
    assert restarted["pid"] != first["pid"]
    assert home.json("instances", "stop", "one", "two")["items"] == [
        {"name": "one", "stopped": True},
        {"name": "two", "stopped": True},
    ]
    stopped = home.run("instances", "status", "one", "--json")
    assert (stopped.returncode, json.loads(stopped.stdout)["state"]) == (Exit.FAILED, "stopped")
    assert home.json("instances", "stop", "one")["items"] == [{"name": "one", "stopped": False}]
    assert [one["id"] for one in home.json("-i", "one", "tenants", "list")["items"]] == ["acme", "default"]
    log = (home.directory / "one" / "relay.log").read_text()
    assert first["admin_token"] not in log, "a secret is no log entry"

    unsaid = home.run("instances", "delete", "one")
    assert (unsaid.returncode, "say --yes" in unsaid.stderr) == (Exit.USAGE, True)
    assert home.run("instances", "delete", "one", "--yes").returncode == 0
    assert not (home.directory / "one").exists()
    missing = home.run("-i", "one", "tenants", "list")
    assert (missing.returncode, missing.stderr.count("\n")) == (Exit.FAILED, 1)
    assert "stagepost instances start one makes one" in missing.stderr


def test_an_instance_is_what_its_file_says(home: Home) -> None:
    home.start("one", STAGEPOST_SMTP_LISTEN="127.0.0.1:1", STAGEPOST_QUEUE_LEASE="soon")
    assert home.run("-i", "one", "queue", "status", STAGEPOST_QUEUE_LEASE="soon").returncode == 0
    assert home.run("queue", "status", STAGEPOST_INSTANCE="one").returncode == 0
    directory = home.directory / "one"
    assert directory.stat().st_mode & 0o077 == 0
    assert (directory / "relay.log").stat().st_mode & 0o077 == 0


def test_a_start_that_fails_says_why(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = home.run("instances", "start", "one", "--smtp-port", port)
    assert done.returncode == Exit.CONFIG
    assert done.stderr.startswith("stagepost: one did not start (exit 78): [smtp] listen: cannot listen on")
    assert done.stderr.count("\n") == 1
    assert home.json("instances", "list")["items"][0]["state"] == "stopped"
    (home.directory / "one" / "config.ini").write_text("[smtp]\nlistn = 1\n")
    broken = home.run("instances", "start", "one")
    assert (broken.returncode, "did you mean listen?" in broken.stderr) == (Exit.CONFIG, True)
    assert home.json("instances", "list")["items"][0]["state"] == "broken"


def test_a_killed_instance_is_not_running_and_starts_again(home: Home) -> None:
    pid = home.start("one")["pid"]
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    import select

    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)
    assert home.json("instances", "list")["items"][0]["state"] == "stopped"
    assert home.json("instances", "start", "one")["pid"] != pid
    assert home.json("instances", "stop", "one", "--force")["items"][0]["stopped"] is True


def test_a_stale_pid_file_kills_nobody(home: Home) -> None:
    home.start("one")
    home.json("instances", "stop", "one")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        # The number was used again: the process is there, but born at another time.
        (home.directory / "one" / "pid").write_text(f"{bystander.pid} 00000000-0000-0000-0000-000000000000 1\n")
        assert home.json("instances", "list")["items"][0]["state"] == "stopped"
        for how in ([], ["--force"]):
            assert home.json("instances", "stop", "one", *how)["items"][0]["stopped"] is False
        assert home.run("instances", "delete", "one", "--yes", "--force").returncode == 0
        assert bystander.poll() is None
        bystander.communicate(b"\n", timeout=30)
        assert bystander.returncode == 0


def test_a_pid_file_speaks_of_this_process_alone(tmp_path: Path) -> None:
    assert serving_pid(tmp_path) is None
    with pid_file(tmp_path):
        assert serving_pid(tmp_path) == os.getpid(), "the control: with the right birth it is found"
        text = (tmp_path / "pid").read_text()
        (tmp_path / "pid").write_text(text.replace(text.split()[-1], "1"))
        assert serving_pid(tmp_path) is None
        for damaged in ("", "x y", "999999999 1", f"{os.getpid()}"):
            (tmp_path / "pid").write_text(damaged)
            assert serving_pid(tmp_path) is None, damaged
    with contextlib.suppress(FileNotFoundError):
        assert not (tmp_path / "pid").exists()
