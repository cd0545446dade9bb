"""`stagepost config`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.commands import Noun, local_verb
from relay.cli.exits import Exit
from relay.cli.output import show_rows
from relay.cli.session import Session

if TYPE_CHECKING:
    from relay.config import Config, Examination, Setting

COLUMNS = {"Section": "section", "Key": "key", "Value": "value", "From": "origin"}


@click.group("config", cls=Noun)
def command() -> None:
    """Configuration: check it, show it, print an example."""


@command.command("check")
@local_verb
def check(session: Session) -> None:
    """Say every fault on a line of its own; exit 78 where there is one."""
    found = _examine(session)
    faults = [*found.faults, *(_unusable(found.config) if found.config else [])]
    source = str(found.source) if found.source else None
    if session.as_json:
        session.show_json({"ok": not faults, "file": source, "faults": faults})
    else:
        for fault in faults:
            click.echo(fault, err=True)
    if faults:
        raise click.exceptions.Exit(Exit.CONFIG)
    if not session.as_json:
        click.echo(f"{source or 'no file, defaults'}: the configuration is good")


@command.command("show")
@local_verb
def show(session: Session) -> None:
    """Every setting as it holds, and where it comes from."""
    config = session.config
    rows = [
        {"section": one.key.section, "key": one.key.name, "value": _effective(config, one), "origin": one.origin}
        for one in _examine(session).settings
    ]
    session.show({"items": rows}, lambda found: show_rows(found["items"], COLUMNS))


@command.command("example")
@local_verb
def example(session: Session) -> None:
    """A file with every key, its meaning and its default."""
    from relay.config import example

    session.show({"example": example()}, lambda found: click.echo(found["example"], nl=False))


def _effective(config: Config, setting: Setting) -> str:
    """As it was written, or what an empty one came to; without a password."""
    from relay.config import StoreUrl

    section, name = setting.key.section, setting.key.name
    value = getattr(config if name in {"hostname", "ehlo_name"} else getattr(config, section), name)
    if isinstance(value, StoreUrl):
        return value.masked
    return setting.text or ("" if value in (None, ()) else str(value))


def _examine(session: Session) -> Examination:
    from relay.config import examine

    return examine(*session.config_source)


def _unusable(config: Config) -> list[str]:
    """What the settings name must also be there, and fit: the part of the check that needs the disk."""
    smtp, api = config.smtp, config.api
    return [
        *_unusable_certificate("smtp", smtp.certificate, smtp.private_key),
        *_unusable_certificate("api", api.certificate, api.private_key),
    ]


def _unusable_certificate(section: str, certificate: Path | None, key: Path | None) -> list[str]:
    import ssl

    for name, path in (("certificate", certificate), ("private_key", key)):
        if path and (trouble := _unreadable(path)):
            return [f"[{section}] {name} = {path}: {trouble}"]
    if certificate and key:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except ssl.SSLError as fault:
            why = fault.reason or fault
            return [f"[{section}] certificate and private_key do not fit each other or are not PEM: {why}"]
    return []


def _unreadable(path: Path) -> str | None:
    try:
        path.open("rb").close()
    except OSError as fault:
        return fault.strerror
    return None
