"""The relays by the names of the command line, and the options that every program here understands alike."""

import argparse
import contextlib
import ipaddress
import os
import socket
import tempfile
from pathlib import Path

from bench.contract import RelayStarter, RunningRelay, Setup
from bench.postfix_relay import postfix_relay
from bench.postfix_tools import PostfixTools
from bench.processes import BenchError, free_port
from bench.stagepost_relay import stagepost_relay

STORAGES = ("sqlite", "postgresql")
RELAY_HELP = "stagepost, stagepost+postgresql, stagepost+SECTION.KEY=VALUE, postfix or HOST:PORT; repeatable"


def relay_starter(name: str) -> RelayStarter:
    """The way to start a relay by the name given on the command line."""
    if name.partition("+")[0] == "stagepost":
        return stagepost_relay
    if name == "postfix":
        return postfix_relay
    host, colon, port = name.rpartition(":")
    if not colon or not port.isdigit():
        raise BenchError(f"--relay is {RELAY_HELP}, not {name!r}")
    if not ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:
        raise BenchError(f"{host} is not a loopback address: the load must not leave this machine")
    return lambda _setup: contextlib.nullcontext(RunningRelay(int(port), None))


def add_relay_options(parser: argparse.ArgumentParser) -> None:
    """The options that every program of this directory understands alike."""
    parser.add_argument("--storage", choices=STORAGES, default="sqlite", help="Stagepost's store")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a further setting for Stagepost"
    )
    parser.add_argument("--sink-port", type=int, help="needed with HOST:PORT, which must relay to this port")
    parser.add_argument("--peer-log", action="store_true", help="let the private Postfix write its mail log to a file")
    parser.add_argument("--work-dir", type=Path, default=default_work_directory(), help="where stores and queues lie")
    parser.add_argument("--json", action="store_true", help="print the whole report as one JSON document")


def setup_from(
    options: argparse.Namespace, relay: str, tools: PostfixTools, directory: Path, max_connections: int = 20
) -> Setup:
    """The Setup that the common options describe, and what is joined to Stagepost's name by `+`: its store, settings."""
    base, *variant = relay.split("+")
    if ":" in base and options.sink_port is None:
        raise BenchError("a relay given as HOST:PORT needs --sink-port, the port that it relays to")
    storage = next((part for part in variant if part in STORAGES), options.storage)
    settings: dict[str, dict[str, str]] = {}
    for text in [*options.set, *(part for part in variant if part not in STORAGES)]:
        name, equals, value = text.partition("=")
        section, dot, key = name.partition(".")
        if not equals or not dot:
            raise BenchError(f"a setting is SECTION.KEY=VALUE, not {text!r}")
        settings.setdefault(section, {})[key] = value
    sink_port = options.sink_port or free_port()
    return Setup(tools, directory, sink_port, storage, settings, max_connections, options.peer_log)


def default_work_directory() -> Path:
    """TMPDIR if set, else /var/tmp: /tmp is often memory, where fsync costs nothing and every figure lies."""
    persistent = Path("/var/tmp")
    return Path(os.environ.get("TMPDIR") or (persistent if persistent.is_dir() else tempfile.gettempdir()))
