"""Stagepost as the relay under test, started as an operator would: an INI file, the command line, `serve`."""

import asyncio
import configparser
import contextlib
import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.contract import RunningRelay, Setup
from bench.filling import deferred, fill
from bench.postgres import private_postgresql
from bench.processes import LOOPBACK, BenchError, check_run, free_port, running, wait_until


@contextlib.contextmanager
def stagepost_relay(setup: Setup) -> Iterator[RunningRelay]:
    """Stagepost on a new store, with one account of the tenant `default` that points at the sink."""
    smtp_port, api_port = free_port(), free_port()
    program = Path(sys.executable).with_name("stagepost")
    if not program.exists():
        raise BenchError(f"{program} is not there: install the project into this environment first")
    with _storage(setup) as (url, database_pid):
        config = _write_config(setup, url, smtp_port, api_port)
        account = ["accounts", "add", "sink", "--tenant", "default", "--host", LOOPBACK, "--port", str(setup.sink_port)]
        options = ["--tls", "none", "--default", "--max-connections", str(setup.max_connections)]
        check_run([program, *account, *options, "--config", config])
        if setup.deferred:
            asyncio.run(fill(url, deferred(setup.deferred, "sink")))
        log = setup.directory / "stagepost.log"
        with running([program, "serve", "--config", config], log=log) as process:
            wait_until(lambda: is_ready(api_port), process, "stagepost")
            yield RunningRelay(smtp_port, process.pid, database_pid)


@contextlib.contextmanager
def _storage(setup: Setup) -> Iterator[tuple[str, int | None]]:
    if setup.storage == "sqlite":
        yield f"sqlite:///{setup.directory / 'stagepost.db'}", None
    else:
        with private_postgresql(setup.directory) as server:
            yield server.url, server.pid


def _write_config(setup: Setup, url: str, smtp_port: int, api_port: int) -> Path:
    parser = configparser.RawConfigParser()
    parser.read_dict(
        {
            "server": {"data_dir": str(setup.directory / "data")},
            "storage": {"url": url},
            "smtp": {"listen": f"{LOOPBACK}:{smtp_port}"},
            "api": {"listen": f"{LOOPBACK}:{api_port}"},
        }
    )
    parser.read_dict(setup.settings)
    path = setup.directory / "stagepost.ini"
    with path.open("w") as file:
        parser.write(file)
    return path


def is_ready(api_port: int) -> bool:
    """Whether a relay says that it can do its work."""
    connection = http.client.HTTPConnection(LOOPBACK, api_port, timeout=2.0)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
