"""`stagepost batches`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli.options import tenant_option
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, segment, verb

COLUMNS = {"Batch": "batch", "Suspended": "suspended", "Messages": "messages"}


@click.group("batches")
def command() -> None:
    """Batches: messages with one batch code."""


@command.command("list")
@tenant_option(required=True)
@click.option("--cursor", metavar="CURSOR", help="The next_cursor of the list before.")
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True, help="At most so many.")
@verb
def list_(session: Session, tenant: str, cursor: str | None, limit: int) -> None:
    """Batches by name: how their messages stand, and whether they are suspended."""
    found = session.request("GET", "/v1/batches", query={"tenant": tenant, "cursor": cursor, "limit": limit})
    session.show(found, _show_list)


@command.command("suspend")
@click.argument("batch")
@tenant_option(required=True)
@verb
def suspend(session: Session, batch: str, tenant: str) -> None:
    """Stop a batch, now or ahead of its mail; what waits stays queued."""
    _act(session, batch, tenant, "suspend")


@command.command("resume")
@click.argument("batch")
@tenant_option(required=True)
@verb
def resume(session: Session, batch: str, tenant: str) -> None:
    """Let a batch go again, even while its tenant stays suspended."""
    _act(session, batch, tenant, "resume")


def _act(session: Session, batch: str, tenant: str, act: str) -> None:
    path = f"/v1/batches/{segment(batch)}/{act}"
    session.show(session.request("POST", path, query={"tenant": tenant}), show_facts)


def _show_list(found: Any) -> None:
    show_rows(found["items"], COLUMNS)
    if found["next_cursor"]:
        click.echo(f"More: --cursor {found['next_cursor']}", err=True)
