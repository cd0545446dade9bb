"""Background: a named instance as a process of its own, started until it is ready and stopped until it is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import IO, Any

from relay.cli.exits import Exit, Failure
from relay.cli.named import Named, without_settings
from relay.instance import serving_pid

KEPT_LOG = 10 * 2**20
"""Octets; a log that is larger is set aside at the next start."""
_LOOK_AGAIN = 0.05
"""Seconds, where the system cannot say that a process has ended."""


def start(instance: Named, timeout: float) -> str:
    """Start it and wait until it is ready; answers what it said to the person who started it, first token included.

    Failure with its own exit code and reason where it ended instead, or was not ready in `timeout` seconds.
    """
    _set_log_aside(instance.log_file)
    with (
        tempfile.TemporaryDirectory(prefix="stagepost-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        tempfile.TemporaryFile("w+") as said,
        os.fdopen(os.open(instance.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log,
    ):
        path = Path(directory) / "notify"
        told.bind(str(path))
        began = instance.log_file.stat().st_size
        # The process and its children alone hold the other end of this pipe: it ends when they have ended.
        alive, held = os.pipe()
        with os.fdopen(alive, "rb", 0) as life:
            with os.fdopen(held, "wb", 0):
                process = _spawn(instance, path, said, log, held)
            match _first(told, life, timeout):
                case _Came.READY:
                    said.seek(0)
                    return said.read()
                case _Came.END:
                    process.wait()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Failure(Exit.UNAVAILABLE, f"{instance.name} was not ready in {timeout:g} s; see {instance.log_file}")
        raise _failure(instance, process.returncode, _last_line(instance.log_file, began))


def stop(instance: Named, *, force: bool, timeout: float) -> bool:
    """End it: with SIGTERM it finishes what is under way; `force` kills. False where it did not run.

    Failure where it takes longer than `timeout` seconds.
    """
    pid = serving_pid(instance.config().server.data_dir)
    if pid is None:
        return False
    ended = _end_of(pid)
    if serving_pid(instance.config().server.data_dir) != pid:  # it ended before its end could be watched
        return False
    with contextlib.suppress(ProcessLookupError):
        if force and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL if force else signal.SIGTERM)
    if not ended(timeout):
        raise Failure(
            Exit.TEMPORARY, f"{instance.name} (process {pid}) has not ended in {timeout:g} s; --force kills it"
        )
    return True


def _spawn(instance: Named, notify: Path, said: IO[str], log: IO[bytes], held: int) -> subprocess.Popen[bytes]:
    environ = {**without_settings(os.environ), "NOTIFY_SOCKET": str(notify)}
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(name, None)  # meant for this process
    return subprocess.Popen(  # noqa: S603  # ourselves
        [sys.executable, "-m", "relay.cli.main", "serve", "--config", str(instance.config_file)],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=log,
        env=environ,
        cwd="/",
        pass_fds=[held],
        start_new_session=True,
    )


class _Came(Enum):
    READY = auto()
    END = auto()
    NOTHING = auto()


def _first(told: socket.socket, life: IO[bytes], timeout: float) -> _Came:
    """What comes first."""
    until = time.monotonic() + timeout
    both: list[Any] = [told, life]
    while (left := until - time.monotonic()) > 0:
        heard, _, _ = select.select(both, [], [], left)
        if told in heard and b"READY=1" in told.recv(4096):
            return _Came.READY
        if life in heard:
            return _Came.END
    return _Came.NOTHING


def _end_of(pid: int) -> Callable[[float], bool]:
    """What waits for the end of a process for so many seconds, and says whether it came."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not this system, or gone already
        return lambda timeout: _gone_within(pid, timeout)

    def wait(timeout: float) -> bool:
        try:
            return bool(select.select([descriptor], [], [], timeout)[0])
        finally:
            os.close(descriptor)

    return wait


def _gone_within(pid: int, timeout: float) -> bool:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(_LOOK_AGAIN)
    return False


def _failure(instance: Named, code: int, reason: str) -> Failure:
    known = Exit(code) if code in set(Exit) - {Exit.OK} else Exit.FAILED
    ending = f"signal {-code}" if code < 0 else f"exit {code}"
    return Failure(known, f"{instance.name} did not start ({ending}): {reason or f'see {instance.log_file}'}")


def _last_line(log: Path, began: int) -> str:
    """The last that it wrote: what `serve` says of its own end."""
    with log.open("rb") as file:
        file.seek(began)
        lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("stagepost: ") if lines else ""


def _set_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > KEPT_LOG:
        log.replace(log.with_suffix(".log.1"))
