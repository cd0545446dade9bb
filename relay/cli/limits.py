"""`stagepost limits`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from relay.cli.commands import Noun, verb
from relay.cli.options import owner_options, required_owner
from relay.cli.output import show_rows
from relay.cli.session import Session
from sidecar_api import operations

COLUMNS = {
    "Limit": "kind",
    "Of": "name",
    "Per": "length",
    "At most": "most",
    "Used": "used",
    "Left": "left",
    "Unit": "unit",
    "Under way": "under_way",
    "Next slot": "next_slot_at",
}


@click.group("limits", cls=Noun)
def command() -> None:
    """Limits: how much of them is used."""


@command.command("list")
@owner_options
@verb
def list_(session: Session, tenant: str | None, shared: bool) -> None:
    """How much of each limit is used, and when the next slot opens. They are set by accounts change and tenants change."""
    query = {"tenant": required_owner(session, tenant, shared=shared)}
    session.show(session.call(operations.LIST_LIMITS, query=query), lambda found: show_rows(_rows(found), COLUMNS))


def _rows(found: Any) -> Iterator[dict[str, Any]]:
    for one in found["items"]:
        for window in one["windows"]:
            yield {**one, **window, "next_slot_at": one["next_slot_at"] or "now"}
