"""A session: what every verb has, its relay and how its answer is shown."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relay.cli.exits import Exit, Failure
from relay.cli.where import Where
from sidecar_api.operations import Operation

if TYPE_CHECKING:  # the configuration costs asyncio, which help and completion can do without
    from contextlib import AbstractAsyncContextManager

    from relay.config import Config
    from sidecar_api.client import Client, Query

T = TypeVar("T")


class Session:
    """One run of a verb."""

    def __init__(self, said: Where, *, as_json: bool) -> None:
        self._said = said
        self.as_json = as_json

    @functools.cached_property
    def where(self) -> Where:
        """Which relay; UsageError where two are named."""
        return self._said.with_environment(os.environ)

    @functools.cached_property
    def config_source(self) -> tuple[Path | None, Mapping[str, str]]:
        """The file that is named, and the environment that counts: a named instance is what its own file says."""
        if self.where.url:
            raise click.UsageError("This is about a relay of this machine: it does not go with --url or STAGEPOST_URL.")
        if self.where.instance is None:
            return self.where.config, os.environ
        from relay.cli.named import existing, without_settings

        return existing(self.where.instance).config_file, without_settings(os.environ)

    @functools.cached_property
    def config(self) -> Config:
        """Loaded when it is first asked for; Failure with exit 78."""
        from relay.config import load
        from relay.errors import ConfigError

        try:
            return load(*self.config_source)
        except ConfigError as fault:
            raise Failure(Exit.CONFIG, str(fault)) from None

    def call(
        self,
        operation: Operation[T],
        *ids: str,
        query: Query | None = None,
        json: object = None,
        body: bytes | None = None,
        media: str = "message/rfc822",
        idempotency_key: str | None = None,
    ) -> T:
        """One operation, and what it answers."""
        return self.run(
            lambda api: api.call(
                operation, *ids, query=query, json=json, body=body, media=media, idempotency_key=idempotency_key
            )
        )

    def stream(self, operation: Operation[Any], *ids: str, query: Query | None = None) -> None:
        """What is not JSON, in pieces, to standard output."""

        async def copy(api: Client) -> None:
            async for piece in api.stream(operation, *ids, query=query):
                sys.stdout.buffer.write(piece)

        sys.stdout.flush()
        self.run(copy)
        sys.stdout.buffer.flush()

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Give `work` a client of the relay's API; what goes wrong becomes a Failure."""
        remote = self.where.client(os.environ) if self.where.url else None
        config = None if remote else self.config

        import asyncio

        from relay.cli.faults import EXPECTED, failure_of

        async def connected() -> T:
            if remote is not None:
                async with remote:
                    return await work(remote)
            assert config is not None  # noqa: S101  # one of the two is there
            async with _local(config) as socket, _client(socket) as client:
                return await work(client)

        try:
            return asyncio.run(connected())
        except BrokenPipeError:
            raise  # standard output: click ends quietly, as `| head` expects
        except EXPECTED as fault:
            raise failure_of(fault, self.where.url or str(config and config.server.data_dir)) from None

    def require_running(self) -> None:
        """Failure where a relay of this machine is named that does not run: nothing would happen there."""
        from relay.instance import is_listening

        if not self.where.url and not is_listening(self.config.api_socket):
            raise Failure(
                Exit.UNAVAILABLE, f"no relay runs in {self.config.server.data_dir}: start it, or name another"
            )

    def show(self, value: Any, for_people: Callable[[Any], None]) -> None:
        """An answer: as JSON where that was asked for; nothing where there is none (204)."""
        if value is None:
            return
        if self.as_json:
            self.show_json(value)
        elif sys.stdout.isatty():
            from relay.cli.terminal import paged

            with paged():
                for_people(value)
        else:
            for_people(value)

    def show_json(self, value: Any) -> None:
        """The API's JSON: on one line to a program, indented to a person."""
        click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def without_nothing(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body without what was not said, so that the API's defaults hold."""
    return {name: value for name, value in body.items() if value is not None and value != () and value != []}


def _client(socket: Path) -> Client:
    from sidecar_api.client import Client

    return Client.unix(socket)


def _local(config: Config) -> AbstractAsyncContextManager[Path]:
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
