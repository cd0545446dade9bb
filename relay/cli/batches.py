"""`stagepost batches`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.options import Paging, paging_options, required_owner, say_more, tenant_option
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session
from sidecar_api import operations

COLUMNS = {"Batch": "batch", "Suspended": "suspended", "Messages": "messages"}


@click.group("batches", cls=Noun)
def command() -> None:
    """Batches: messages with one batch code."""


@command.command("list")
@tenant_option
@paging_options
@verb
def list_(session: Session, /, tenant: str | None, **given: Any) -> None:
    """Batches by name: how their messages stand, and whether they are suspended."""
    whose = required_owner(session, tenant, may_share=False)
    found = Paging.of(given).collect(session, operations.LIST_BATCHES, query={"tenant": whose})
    session.show(found, _show_list)


@command.command("suspend")
@click.argument("batch", shell_complete=completion.batches)
@tenant_option
@verb
def suspend(session: Session, batch: str, tenant: str | None) -> None:
    """Stop a batch, now or ahead of its mail; what waits stays queued."""
    query = {"tenant": required_owner(session, tenant, may_share=False)}
    session.show(session.call(operations.SUSPEND_BATCH, batch, query=query), show_facts)


@command.command("resume")
@click.argument("batch", shell_complete=completion.batches)
@tenant_option
@verb
def resume(session: Session, batch: str, tenant: str | None) -> None:
    """Let a batch go again, even while its tenant stays suspended."""
    query = {"tenant": required_owner(session, tenant, may_share=False)}
    session.show(session.call(operations.RESUME_BATCH, batch, query=query), show_facts)


def _show_list(found: Any) -> None:
    show_rows(found["items"], COLUMNS)
    say_more(found["next_cursor"])
