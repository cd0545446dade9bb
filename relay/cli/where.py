"""Where: which relay a command works on. One of this machine (by configuration or by name), or one at a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from relay.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from sidecar_api.client import Client

F = TypeVar("F", bound=Callable[..., Any])

PLACES = ("instance", "config", "url")
"""Of these only one can be said."""
LOOPBACK = ("127.", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Where:
    """What the command line says."""

    instance: str | None = None
    config: Path | None = None
    url: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None

    def over(self, other: Where) -> Where:
        """What is said here, else there: behind the verb wins over before the noun."""
        if any(getattr(self, name) for name in PLACES):
            other = Where(token_file=other.token_file, ca_file=other.ca_file)
        return Where(**{one.name: getattr(self, one.name) or getattr(other, one.name) for one in fields(Where)})

    def with_environment(self, environ: Mapping[str, str]) -> Where:
        """Complete from STAGEPOST_URL, or STAGEPOST_INSTANCE, where the command line says no place; UsageError for two."""
        said = [f"--{name}" for name in PLACES if getattr(self, name)]
        found = self
        if not said:
            found = Where(environ.get("STAGEPOST_INSTANCE"), None, environ.get("STAGEPOST_URL")).over(self)
            said = [f"STAGEPOST_{name.upper()}" for name in PLACES if getattr(found, name)]
        if len(said) > 1:
            raise click.UsageError(f"{' and '.join(said)} exclude each other: each says which relay to work on.")
        if not found.url and (self.token_file or self.ca_file):
            raise click.UsageError("--token-file and --ca-file go with --url; a relay of this machine needs neither.")
        return found

    def client(self, environ: Mapping[str, str], *, quietly: bool = False) -> Client:
        """Of the relay at `url`; `quietly` nobody is asked or warned."""
        from sidecar_api.client import Client

        assert self.url  # noqa: S101  # asked for only then
        given = environ.get("STAGEPOST_CA_FILE")
        ca_file = self.ca_file or (Path(given) if given else None)
        if ca_file and not ca_file.is_file():
            raise Failure(Exit.USAGE, f"{ca_file}: no such file (the authorities to be trusted)")
        token = self._token(environ, quietly=quietly)
        try:
            client = Client(self.url, token=token, ca_file=ca_file)
        except ValueError as fault:
            raise click.UsageError(f"{fault}.") from None
        if token and not quietly and _is_in_clear(self.url):
            click.echo(f"stagepost: warning: the token goes to {self.url} in clear; use https", err=True)
        return client

    def _token(self, environ: Mapping[str, str], *, quietly: bool) -> str | None:
        """From --token-file, STAGEPOST_TOKEN or STAGEPOST_TOKEN_FILE; else a person is asked. Never an argument: others of
        the machine can read those."""
        from relay.cli.prompts import is_interactive

        named = self.token_file
        if named is None and (token := environ.get("STAGEPOST_TOKEN")):
            return token.strip()
        if named is None and (text := environ.get("STAGEPOST_TOKEN_FILE")):
            named = Path(text)
        if named is not None:
            try:
                token = named.read_text().strip()
            except (OSError, UnicodeDecodeError) as fault:
                reason = fault.strerror if isinstance(fault, OSError) else "no text"
                raise Failure(Exit.USAGE, f"{named}: the token cannot be read: {reason}") from None
            if not token or any(character.isspace() for character in token):
                raise Failure(Exit.DATA, f"{named}: holds no token, or more than one")
            return token
        if not quietly and is_interactive():
            return str(click.prompt(f"Token for {self.url}", hide_input=True, err=True)).strip()
        return None


def _is_in_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not (parts.hostname or "").startswith(LOOPBACK)


def where_options(*, hidden: bool, local: bool = False) -> Callable[[F], F]:
    """The options that make a Where, `local` without a URL's; the function is given them as keywords of these names."""
    path = click.Path(path_type=Path)
    options = [
        click.option("-i", "--instance", metavar="NAME", hidden=hidden, help="The named instance (see instances)."),
        click.option("--config", metavar="FILE", type=path, hidden=hidden, help="The relay of this configuration."),
    ]
    if not local:
        options += [
            click.option("--url", metavar="URL", hidden=hidden, help="The relay at this URL, by its API."),
            click.option(
                "--token-file", metavar="FILE", type=path, hidden=hidden, help="With --url: where the token stands."
            ),
            click.option(
                "--ca-file", metavar="FILE", type=path, hidden=hidden, help="With --url: authorities to trust (PEM)."
            ),
        ]

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def said_before(context: click.Context | None) -> Where:
    """What stood before the noun."""
    return said_in(context.find_root().params if context else {})


def said_in(parameters: Mapping[str, Any]) -> Where:
    """What a command's parameters say."""
    return Where(**{one.name: parameters.get(one.name) for one in fields(Where)})
