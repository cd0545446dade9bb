"""Instance: the data directory of one relay: its lock, its PID file, its name as a holder of leases, its Unix socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from relay.errors import ConfigError, StoreError

ORPHANS_END_WITHIN = 40.0
"""Seconds that workers may need to end whose parent was killed."""
_LOOK_AGAIN = 0.05
MAX_SOCKET_PATH = 107
"""Octets of a Unix socket's path (sun_path of Linux, less its NUL)."""


def prepare_data_dir(data_dir: Path, api_socket: Path) -> None:
    """Make it (0700) where it is missing."""
    if len(os.fsencode(api_socket)) > MAX_SOCKET_PATH:
        raise ConfigError(
            f"[server] data_dir: {data_dir} is too long: {api_socket.name} in it must fit {MAX_SOCKET_PATH} octets"
        )
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"[server] data_dir: {data_dir} cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def instance_lock(data_dir: Path, patience: float = ORPHANS_END_WITHIN) -> Iterator[None]:
    """Hold the data directory alone: two instances must not be one. The processes that this one forks hold it as well: where
    they have outlived it they are about to end, and are waited for (`patience` in seconds)."""
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + patience
        while not _try_lock(descriptor):
            if _holder_lives(descriptor) or time.monotonic() >= until:
                raise StoreError(f"{data_dir} is in use by another stagepost process; stop it, or wait for it to end")
            time.sleep(_LOOK_AGAIN)
        os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_lives(descriptor: int) -> bool:
    """Whether the process that took the lock is there still."""
    try:
        os.kill(int(os.pread(descriptor, 20, 0)), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):  # not written yet, or another user's
        return True
    return True


@contextlib.contextmanager
def pid_file(data_dir: Path) -> Iterator[None]:
    """Say which process serves the directory; to be used inside the lock."""
    path, pid = data_dir / "pid", os.getpid()
    temporary = path.with_suffix(".new")
    temporary.write_text(f"{pid} {_birth(pid) or ''}\n")
    temporary.replace(path)
    try:
        yield
    finally:
        if os.getpid() == pid:  # a process that was forked off leaves it to its parent
            path.unlink(missing_ok=True)


def serving_pid(data_dir: Path) -> int | None:
    """The process that serves the directory, or None.

    A number alone proves nothing, because numbers are used again: the process must have been born when the file says.
    """
    try:
        number, _, birth = (data_dir / "pid").read_text().strip().partition(" ")
        pid = int(number)
    except (OSError, ValueError):
        return None
    return pid if birth and _birth(pid) == birth else None


def _birth(pid: int) -> str | None:
    """When a living process was born, as the system says it: of one process always the same, and of no other."""
    try:
        # Of the line's fields the second may hold spaces and parentheses; the third is the state, the 22nd the start in
        # ticks since the system's own (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _birth_by_ps(pid)
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _birth_by_ps(pid: int) -> str | None:
    """The same where there is no such file: no process, or no Linux."""
    if Path("/proc/self/stat").exists():
        return None
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})  # noqa: S603  # a number
    return done.stdout.strip() or None


def holder_name(data_dir: Path) -> str:
    """The name under which this instance holds leases: made once, kept, so that it finds its own after a crash."""
    path = data_dir / "instance"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        name = secrets.token_hex(8)
        temporary = path.with_suffix(".new")
        temporary.write_text(name + "\n")
        temporary.replace(path)
        return name


def is_listening(path: Path) -> bool:
    """Whether a process answers on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
