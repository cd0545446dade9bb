"""`stagepost instance`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli.commands import Noun, verb
from relay.cli.output import show_facts
from relay.cli.session import Session
from relay.cli.settings import Setting, change_options, must_change, setting_options
from sidecar_api import operations

SETTINGS = (
    Setting("--name", "name", "For people.", "NAME"),
    Setting(
        "--dispatch", "dispatch.active", "Whether anything is attempted: on or off.", "on|off", click.BOOL, kept=True
    ),
)


@click.group("instance", cls=Noun)
def command() -> None:
    """The instance: its settings, how it stands."""


@command.command("show")
@verb
def show(session: Session) -> None:
    """Settings and status: since when it runs, its doors, its queue, what ails it."""
    session.show(session.call(operations.SHOW_INSTANCE), show_facts)


@command.command("change")
@change_options(SETTINGS)
@verb
def change(session: Session, settings: dict[str, Any]) -> None:
    """Change what is named, and leave the rest as it is; it holds for all instances on the store."""
    session.show(session.call(operations.CHANGE_INSTANCE, json=must_change(settings)), show_facts)


@command.command("replace")
@setting_options(SETTINGS)
@verb
def replace(session: Session, settings: dict[str, Any]) -> None:
    """Put all settings in the place of what is there; what is not said is as in a new store."""
    body = {"name": None, "dispatch": {"active": True}, **settings}
    session.show(session.call(operations.REPLACE_INSTANCE, json=body), show_facts)
