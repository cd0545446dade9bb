"""`stagepost queue`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli.commands import Noun, verb
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session
from sidecar_api import operations

COLUMNS = {"Queue": "queue_key", "Ready": "ready", "Leased": "leased", "Held": "held", "Next due": "next_due"}


@click.group("queue", cls=Noun)
def command() -> None:
    """The queue: how it stands."""


@command.command("status")
@verb
def status(session: Session) -> None:
    """Deliveries by queue and state, and the totals."""
    session.show(session.call(operations.SHOW_QUEUE), _show)


def _show(found: Any) -> None:
    if found["items"]:
        show_rows(found["items"], COLUMNS)
        click.echo()
    show_facts(found["totals"])
