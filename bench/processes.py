"""Child processes, ports and scratch directories that are certain to go away again.

A benchmark starts servers it does not trust to end by themselves: each runs in a session of its own, so that the whole
family can be ended at once and a Ctrl-C reaches the harness first, whose context managers then end the children.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

LOOPBACK = "127.0.0.1"
START_DEADLINE = 30.0
STOP_DEADLINE = 15.0
POLL_INTERVAL = 0.05


class BenchError(Exception):
    """A measurement that cannot be made, with a reason fit to show to the person who asked for it."""


def end_on_sigterm() -> None:
    """Let a SIGTERM unwind the stack as Ctrl-C does: only unwinding ends the children."""

    def unwind(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, unwind)


def free_port() -> int:
    """A loopback port nobody listens on now; the small race until it is used is accepted."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """A fresh directory, removed afterwards; open to others because Postfix and PostgreSQL give up root in it."""
    directory = Path(tempfile.mkdtemp(prefix="stagepost-bench-", dir=parent))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in the foreground of its own session until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            user=user,
            group=None if user is None else primary_group(user),
            extra_groups=None if user is None else [],
            start_new_session=True,
        )
    try:
        with explaining(process, log):
            yield process
    finally:
        end_session(process)


@contextlib.contextmanager
def explaining(process: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    """Add what a server last said to the error of a run that failed: the log goes with the scratch directory."""
    try:
        yield
    except BenchError as error:
        if not (said := tail(log)):
            raise
        state = "is running" if process.poll() is None else f"has ended with status {process.returncode}"
        raise BenchError(f"{error}\n{log.stem} {state} and last said:\n{said}") from error


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Ask the leader to end in good order, then make sure that nothing of its process group is left."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> None:
    """Poll until a started server is ready; BenchError if it dies or takes too long."""
    deadline = time.monotonic() + START_DEADLINE
    while not ready():
        if process.poll() is not None:
            raise BenchError(f"{name} ended with status {process.returncode} while starting")
        if time.monotonic() > deadline:
            raise BenchError(f"{name} was not ready after {START_DEADLINE:.0f} s")
        time.sleep(POLL_INTERVAL)


def listening(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a server's log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def check_run(
    command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> str:
    """Run a short command to its end; its output, or a BenchError that shows what it said."""
    result = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=None if environment is None else dict(environment),
        cwd=directory,
        timeout=300,
        check=False,
    )
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip()
        raise BenchError(f"`{' '.join(map(str, command))}` ended with status {result.returncode}: {said}")
    return result.stdout


def primary_group(user: str) -> int:
    """The group a server falls back to when it gives up root for this user."""
    import pwd  # absent on Windows, where nothing here gives up root

    return pwd.getpwnam(user).pw_gid


def unprivileged_user(preferred: Sequence[str]) -> str:
    """The first of these users that the machine already has: a benchmark adds none."""
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in preferred:
        if name in known:
            return name
    raise BenchError(f"none of the users {', '.join(preferred)} exists on this machine")


def is_root() -> bool:
    """Root must name another user for smtp-sink, Postfix and PostgreSQL: none of them runs as root."""
    return os.geteuid() == 0
