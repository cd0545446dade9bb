"""`stagepost suppressions`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relay.cli.commands import Noun, verb
from relay.cli.options import Paging, paging_options, required_owner, say_more, tenant_option, yes_option
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import confirm
from relay.cli.session import Session, without_nothing
from sidecar_api import operations

COLUMNS = {"Address": "address", "Reason": "reason", "Since": "since", "Until": "until", "Note": "note"}
REASONS = click.Choice(["hard_bounce", "complaint", "unsubscribe", "manual"])
MEDIA = {"csv": "text/csv", "jsonl": "application/x-ndjson", "json": "application/json"}


def filter_options(function: Any) -> Any:
    """Which entries."""
    prefix = click.option("--prefix", metavar="TEXT", help="Whose address begins so; @ finds domains.")
    return click.option("--reason", type=REASONS, help="For this reason.")(prefix(function))


@click.group("suppressions", cls=Noun)
def command() -> None:
    """Suppressions: to whom a tenant must not send."""


@command.command("list")
@tenant_option
@filter_options
@paging_options
@verb
def list_(session: Session, /, tenant: str | None, **given: Any) -> None:
    """Addresses and domains on a tenant's list, in their order."""
    paging = Paging.of(given)
    query = {"tenant": _whose(session, tenant), **given}
    session.show(paging.collect(session, operations.LIST_SUPPRESSIONS, query=query), _show_list)


@command.command("add")
@click.argument("address")
@tenant_option
@click.option("--reason", type=REASONS, help="Why; else manual.")
@click.option("--note", metavar="TEXT", help="For people.")
@click.option("--until", metavar="TIME", help="When it ends (RFC 3339, or +30d); else never.")
@verb
def add(session: Session, /, address: str, tenant: str | None, **said: Any) -> None:
    """Send no more to an address, or to a whole domain as @example.net."""
    body = without_nothing({"address": address, **said})
    query = {"tenant": _whose(session, tenant)}
    session.show(session.call(operations.ADD_SUPPRESSION, query=query, json=body), show_facts)


@command.command("show")
@click.argument("address")
@tenant_option
@verb
def show(session: Session, address: str, tenant: str | None) -> None:
    """What the list says of an address, or of a domain as @example.net."""
    query = {"tenant": _whose(session, tenant)}
    session.show(session.call(operations.SHOW_SUPPRESSION, address, query=query), show_facts)


@command.command("remove")
@click.argument("address")
@tenant_option
@yes_option
@verb
def remove(session: Session, address: str, tenant: str | None, yes: bool) -> None:
    """Let mail go again to an address or a domain."""
    query = {"tenant": _whose(session, tenant)}
    confirm(f"Let mail go to {address} again?", yes=yes)
    session.show(session.call(operations.DELETE_SUPPRESSION, address, query=query), show_facts)


@command.command("import")
@click.argument("file", type=click.File("rb"))
@tenant_option
@click.option("--format", "kind", type=click.Choice(list(MEDIA)), help="Else as the file is called, or csv.")
@verb
def import_(session: Session, file: Any, tenant: str | None, kind: str | None) -> None:
    """Put many on the list, from a file or - (CSV, JSON lines or JSON); valid rows are taken, the others named."""
    named = Path(str(getattr(file, "name", ""))).suffix.removeprefix(".").lower()
    media = MEDIA[kind or {"ndjson": "jsonl"}.get(named, named if named in MEDIA else "csv")]
    query = {"tenant": _whose(session, tenant)}
    found = session.call(operations.IMPORT_SUPPRESSIONS, query=query, body=file.read(), media=media)
    session.show(found, _show_imported)


@command.command("export")
@tenant_option
@filter_options
@click.option("--format", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="How.")
@verb
def export(session: Session, /, tenant: str | None, **given: Any) -> None:
    """The whole list on standard output, as it can be imported again."""
    session.stream(operations.EXPORT_SUPPRESSIONS, query={"tenant": _whose(session, tenant), **given})


def _whose(session: Session, tenant: str | None) -> str | None:
    return required_owner(session, tenant, may_share=False)


def _show_list(found: Any) -> None:
    show_rows(found["items"], COLUMNS, spare=["Note", "Since"])
    say_more(found)


def _show_imported(found: Any) -> None:
    show_facts({name: count for name, count in found.items() if name != "faults"})
    for fault in found["faults"]:
        click.echo(f"row {fault['row']}{fault['path'] and ' ' + fault['path']}: {fault['detail']}", err=True)
