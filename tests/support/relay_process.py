"""The relay as a user runs it: `stagepost serve` in a process of its own, on loopback, in a directory of its own.

Readiness is the READY=1 that the relay sends to a service manager, so nothing is polled and nothing sleeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGEPOST = str(Path(sys.executable).with_name("stagepost"))
START_WITHIN = 60.0


def free_port() -> int:
    """A loopback port that was free a moment ago, of those that the system gives to no client that connects: so a relay that
    is started again finds its own."""
    while True:
        port = random.randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Answer:
    """What the REST door said."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class RelayProcess:
    """Configuration and, while it runs, the process."""

    directory: Path
    storage_url: str
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    smtp_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    command: tuple[str, ...] = (STAGEPOST,)
    """What is run as `… serve --config FILE`."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """The INI file."""
        return self.directory / "config.ini"

    @property
    def log(self) -> str:
        """All that the relay wrote so far: the mail log among it."""
        return (self.directory / "relay.log").read_text()

    def write_config(self) -> None:
        """Write the INI file."""
        sections: dict[str, dict[str, str]] = {
            "server": {"data_dir": str(self.directory / "data")},
            "storage": {"url": self.storage_url},
            "smtp": {"listen": f"127.0.0.1:{self.smtp_port}", "hostname": "relay.test"},
            "api": {"listen": f"127.0.0.1:{self.api_port}"},
        }
        for section, values in self.options.items():
            sections.setdefault(section, {}).update(values)
        lines = [
            f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) for name, values in sections.items()
        ]
        self.config.write_text("\n".join(lines))

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start and wait until it is ready."""
        self.write_config()
        notify_path = str(self.directory / "notify")
        Path(notify_path).unlink(missing_ok=True)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
            (self.directory / "relay.log").open("ab") as log,
        ):
            notify.bind(notify_path)
            notify.settimeout(0.1)
            self.process = subprocess.Popen(
                [*self.command, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {}), "NOTIFY_SOCKET": notify_path},
            )
            deadline = time.monotonic() + START_WITHIN
            while not _is_told_ready(notify):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(f"the relay was not ready within {START_WITHIN} s:\n{self.log}")

    def make_key(self) -> None:
        """Have the store's key made, which other instances need, before any of them is started."""
        self.write_config()
        self.cli("tenants", "list")

    def until_ready(self, within: float = START_WITHIN) -> None:
        """Wait until its REST door says that it is ready."""
        deadline = time.monotonic() + within
        while not self._says_ready():
            assert time.monotonic() < deadline, f"the relay was not ready again within {within} s:\n{self.log}"

    def _says_ready(self) -> bool:
        try:
            return self.request("GET", "/health/ready").status == 200
        except OSError:  # a worker's connection ended with it
            return False

    def stop(self, within: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(within)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def kill_one(self, pid: int) -> None:
        """SIGKILL to one of its processes; returns when it has ended."""
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], 10)
        finally:
            os.close(descriptor)

    def cli(self, *arguments: str, stdin: str = "") -> Any:
        """A command of the CLI with --json; what it printed, parsed."""
        verb = 2 if arguments[0] != "send" else 1
        command = [STAGEPOST, *arguments[:verb], "--config", str(self.config), "--json", *arguments[verb:]]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} → {done.returncode}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def request(self, method: str, path: str, token: str | None = None, body: Any = None) -> Answer:
        """A request to the REST door; bytes go as message/rfc822, anything else as JSON."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "message/rfc822" if isinstance(body, bytes) else "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}{path}", data=data, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return _answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, dict(error.headers), error.read())

    def __enter__(self) -> RelayProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


@contextlib.contextmanager
def beside(relay: RelayProcess, **options: Mapping[str, str]) -> Iterator[RelayProcess]:
    """Another instance on the store of the first, with its key, which must have been made; not started."""
    with relay_directory() as directory, RelayProcess(directory, relay.storage_url, options) as other:
        (directory / "data").mkdir(mode=0o700)
        shutil.copy(relay.directory / "data" / "key", directory / "data" / "key")
        yield other


def _is_told_ready(notify: socket.socket) -> bool:
    try:
        return b"READY=1" in notify.recv(4096)
    except TimeoutError:
        return False


def _answer(status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
    is_json = "json" in headers.get("Content-Type", "")
    return Answer(status, headers, json.loads(raw) if is_json and raw else raw.decode("utf-8", "replace"))


@contextlib.contextmanager
def relay_directory() -> Iterator[Path]:
    """A directory with a short path (a Unix socket's path may have 107 octets), removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="stagepost-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
