"""Named instances: a directory each, with a configuration that remembers its ports, its data and its log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from relay.config import Config

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FIRST_PORTS = (2526, 8026)
"""Of SMTP and REST, where none are said: those of the relay without a name come before them."""


@dataclass(frozen=True, slots=True)
class Named:
    """An instance by name; it exists if its configuration does."""

    name: str
    directory: Path

    @property
    def config_file(self) -> Path:
        """What it is; to be edited for all that `instances start` does not ask."""
        return self.directory / "config.ini"

    @property
    def log_file(self) -> Path:
        """What it writes in the background; 0600 as all of the directory, because addresses stand in it."""
        return self.directory / "relay.log"

    @property
    def exists(self) -> bool:
        """Whether it was made."""
        return self.config_file.is_file()

    def config(self) -> Config:
        """Failure with exit 78 where somebody edited it into something else."""
        from relay.config import load
        from relay.errors import ConfigError

        try:
            return load(self.config_file, without_settings(os.environ))
        except ConfigError as fault:
            raise Failure(Exit.CONFIG, str(fault)) from None

    def make(self, host: str, smtp_port: int | None, api_port: int | None) -> None:
        """Write its configuration. Ports that are not said are the next free ones."""
        if not NAME.fullmatch(self.name):
            raise click.UsageError(f"{self.name} is no name: 1 to 32 of a-z, 0-9, _ and -, a letter or digit first.")
        shown = f"[{host}]" if ":" in host else host
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _choosing(self.directory.parent):
                taken = set(_remembered_ports())
                smtp = smtp_port or _free_port(host, FIRST_PORTS[0], taken)
                api = api_port or _free_port(host, FIRST_PORTS[1], taken | {smtp})
                self.config_file.write_text(
                    f"# Instance {self.name}. Every key with its meaning: stagepost config example\n"
                    f"[server]\ndata_dir = .\n\n"
                    f"[smtp]\nlisten = {shown}:{smtp}\n\n"
                    f"[api]\nlisten = {shown}:{api}\n"
                )
        except OSError as fault:
            raise Failure(Exit.NO_PERMISSION, f"{self.directory} cannot be made: {fault.strerror}") from None


@contextlib.contextmanager
def _choosing(directory: Path) -> Iterator[None]:
    """One at a time: two that are made at once must not choose the same ports."""
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def home() -> Path:
    """Where the instances are: STAGEPOST_INSTANCES, else beside the data of the one without a name."""
    if named := os.environ.get("STAGEPOST_INSTANCES"):
        return Path(named).absolute()
    from relay.config import default_data_dir

    return default_data_dir(os.environ) / "instances"


def named(name: str) -> Named:
    """The instance of a name, whether it exists or not."""
    if "/" in name or name in {"", ".", ".."}:
        raise click.UsageError(f"{name!r} is no name of an instance.")
    return Named(name, home() / name)


def existing(name: str) -> Named:
    """The same; Failure where there is none."""
    found = named(name)
    if not found.exists:
        raise Failure(Exit.FAILED, f"there is no instance {name}; stagepost instances start {name} makes one")
    return found


def every() -> list[Named]:
    """All, by name."""
    try:
        directories = sorted(home().iterdir())
    except FileNotFoundError:
        return []
    return [found for one in directories if (found := Named(one.name, one)).exists]


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of a relay: a named instance is what its own file says, whoever starts it."""
    return {name: value for name, value in environ.items() if not name.startswith("STAGEPOST_")}


def _remembered_ports() -> Iterator[int]:
    for one in every():
        try:
            config = one.config()
        except Failure:
            continue  # its ports cannot be known; whether they are free is seen below
        for endpoint in (*config.smtp.listen, *config.smtp.tls_listen, *config.api.listen):
            yield endpoint.port


def _free_port(host: str, first: int, taken: set[int]) -> int:
    for port in range(first, first + 1000):
        if port not in taken and _can_listen(host, port):
            return port
    raise Failure(Exit.FAILED, f"there is no free port from {first} to {first + 999} on {host}")


def _can_listen(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
