"""`stagepost dispatch`."""

from __future__ import annotations

import click

from relay.cli.commands import Noun, verb
from relay.cli.output import show_facts
from relay.cli.session import Session
from sidecar_api import operations


@click.group("dispatch", cls=Noun)
def command() -> None:
    """The scheduler: stop and start it."""


@command.command("stop")
@verb
def stop(session: Session) -> None:
    """Attempt nothing more, at all instances on the store: mail is taken in and waits, what is under way is finished."""
    _switch(session, active=False)


@command.command("start")
@verb
def start(session: Session) -> None:
    """Go on sending, at once."""
    _switch(session, active=True)


def _switch(session: Session, *, active: bool) -> None:
    session.show(session.call(operations.CHANGE_INSTANCE, json={"dispatch": {"active": active}}), show_facts)
