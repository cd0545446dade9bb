"""A session: what every verb has, its configuration and its way to the API."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

import click

from relay.cli.exits import Exit, Failure

if TYPE_CHECKING:  # the configuration costs asyncio, which help and completion can do without
    from collections.abc import Awaitable
    from contextlib import AbstractAsyncContextManager

    from relay.config import Config
    from sidecar_api.client import Client, Query

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Session:
    """One run of a verb."""

    def __init__(self, config_path: Path | None, *, as_json: bool) -> None:
        self.config_path = config_path
        self.as_json = as_json

    @functools.cached_property
    def config(self) -> Config:
        """Loaded when it is first asked for; Failure with exit 78."""
        from relay.config import load
        from relay.errors import ConfigError

        try:
            return load(self.config_path, os.environ)
        except ConfigError as fault:
            raise Failure(Exit.CONFIG, str(fault)) from None

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """One request; the answer's JSON, or None where there is none."""
        return self.run(lambda api: api.request(method, path, query=query, json=body))

    def submit(self, content: bytes, query: Query, idempotency_key: str | None) -> Any:
        """Hand in a finished message."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self.run(lambda api: api.request("POST", "/v1/messages/raw", query=query, body=content, headers=headers))

    def stream(self, path: str, query: Query, write: Callable[[bytes], object]) -> None:
        """Read what is not JSON, in pieces."""

        async def copy(api: Client) -> None:
            async for piece in api.stream("GET", path, query=query):
                write(piece)

        self.run(copy)

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Give `work` a client of this instance's API; what goes wrong becomes a Failure."""
        config = self.config

        import asyncio

        from relay.cli.faults import EXPECTED, failure_of
        from sidecar_api.client import Client

        async def connected() -> T:
            async with _socket(config) as socket, Client.unix(socket) as client:
                return await work(client)

        try:
            return asyncio.run(connected())
        except BrokenPipeError:
            raise  # standard output: click ends quietly, as `| head` expects
        except EXPECTED as fault:
            raise failure_of(fault, config.server.data_dir) from None

    def show(self, value: Any, for_people: Callable[[Any], None]) -> None:
        """An answer: as JSON where that was asked for; nothing where there is none (204)."""
        if value is None:
            return
        if self.as_json:
            self.show_json(value)
        else:
            for_people(value)

    def show_json(self, value: Any) -> None:
        """The API's JSON: on one line to a program, indented to a person."""
        click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def verb(function: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """--config and --json; the function is given a Session first."""

    @click.option("--config", "config_path", metavar="FILE", type=click.Path(path_type=Path), help="The configuration.")
    @click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")
    @functools.wraps(function)
    def run(*args: Any, config_path: Path | None, as_json: bool, **kwargs: Any) -> R:
        return function(Session(config_path, as_json=as_json), *args, **kwargs)

    return run  # type: ignore[return-value]  # click calls it with the two options added


def segment(text: str) -> str:
    """An id as a segment of a path."""
    return quote(text, safe="")


def read_secret(prompt: str, *, from_stdin: bool) -> str:
    """A secret from the first line of stdin, or typed unseen; never from the command line, which others can read."""
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        text = click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError(
            f"{prompt} is asked for: give it on standard input, with the option that ends in -stdin."
        )
    if not text:
        raise Failure(Exit.DATA, f"{prompt.lower()}: standard input is empty")
    return str(text)


def without_nothing(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body without what was not said, so that the API's defaults hold."""
    return {name: value for name, value in body.items() if value is not None and value != () and value != []}


def _socket(config: Config) -> AbstractAsyncContextManager[Path]:
    """Where the API answers. The whole relay is imported only where none runs: it takes longer than most commands."""
    from relay.instance import is_listening

    if is_listening(config.api_socket):
        return nullcontext(config.api_socket)
    from relay.local import local_api

    _become_owner(config.server.data_dir)
    return local_api(config)


def _become_owner(data_dir: Path) -> None:
    """Root acts as the owner of the data directory: a file that root made there would stop the relay at its next start."""
    if os.geteuid() != 0 or not data_dir.exists():
        return
    owner = data_dir.stat()
    if owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
