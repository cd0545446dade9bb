"""Several instances of Stagepost on one PostgreSQL, as a site would run them: own data directories, one key."""

import asyncio
import configparser
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.postgres import private_postgresql
from bench.processes import LOOPBACK, check_run, free_port, running, wait_until
from bench.stagepost_relay import is_ready

PROGRAM = Path(sys.executable).with_name("stagepost")


@dataclass(frozen=True)
class Instance:
    """One that is ready."""

    smtp_port: int
    api_port: int
    socket: Path
    pid: int


@contextlib.asynccontextmanager
async def instances(
    directory: Path,
    count: int,
    sink_port: int,
    *,
    storage: str = "postgresql",
    account: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[list[Instance]]:
    """Started one after the other; `account` holds further options of the one account, which leads to the sink.

    Start and end go on in a thread: an instance that ends waits for the sink, which runs in our loop.
    """
    running = _instances(directory, count, sink_port, storage, account, settings or {})
    made = await asyncio.to_thread(running.__enter__)
    try:
        yield made
    finally:
        await asyncio.shield(asyncio.to_thread(running.__exit__, None, None, None))


@contextlib.contextmanager
def _instances(
    directory: Path,
    count: int,
    sink_port: int,
    storage: str,
    account: Sequence[str],
    settings: Mapping[str, Mapping[str, str]],
) -> Iterator[list[Instance]]:
    with contextlib.ExitStack() as stack:
        if storage == "sqlite":
            url = f"sqlite:///{directory / 'stagepost.db'}"
        else:
            url = stack.enter_context(private_postgresql(directory)).url
        made: list[Instance] = []
        for number in range(count):
            home = directory / f"instance-{number}"
            home.mkdir()
            smtp_port, api_port = free_port(), free_port()
            config = _write_config(home, directory / "key", url, smtp_port, api_port, settings)
            if number == 0:
                options = ["--host", LOOPBACK, "--port", str(sink_port), "--tls", "none", "--default", *account]
                owner = [] if "--shared" in account else ["--tenant", "default"]
                check_run([PROGRAM, "accounts", "add", "sink", *owner, *options, "--config", config])
            process = stack.enter_context(running([PROGRAM, "serve", "--config", config], log=home / "stagepost.log"))
            wait_until(lambda port=api_port: is_ready(port), process, "stagepost")  # type: ignore[misc]
            made.append(Instance(smtp_port, api_port, home / "data" / "api.sock", process.pid))
        yield made


def _write_config(
    home: Path, key: Path, url: str, smtp_port: int, api_port: int, settings: Mapping[str, Mapping[str, str]]
) -> Path:
    parser = configparser.RawConfigParser()
    parser.read_dict(
        {
            "server": {"data_dir": str(home / "data")},
            "storage": {"url": url},
            "security": {"key_file": str(key)},
            "smtp": {"listen": f"{LOOPBACK}:{smtp_port}"},
            "api": {"listen": f"{LOOPBACK}:{api_port}"},
        }
    )
    parser.read_dict(settings)
    path = home / "stagepost.ini"
    with path.open("w") as file:
        parser.write(file)
    return path
