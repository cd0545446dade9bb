"""`stagepost command-log`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.options import Paging, paging_options, say_more, yes_option
from relay.cli.output import show_rows
from relay.cli.prompts import confirm
from relay.cli.session import Session
from sidecar_api import operations

COLUMNS = {
    "At": "at",
    "Who": "actor",
    "Tenant": "tenant",
    "From": "peer",
    "Operation": "operation",
    "Status": "status",
    "Path": "path",
    "Body": "body",
}
SPARE = ("Path", "From", "Body", "Tenant")


def filter_options(function: Any) -> Any:
    """Which commands."""
    for option in (
        click.option("--until", metavar="TIME", help="Before it."),
        click.option("--since", metavar="TIME", help="At or after it (RFC 3339)."),
        click.option("--actor", metavar="TOKEN", shell_complete=completion.tokens, help="By this token, or local."),
        click.option("--operation", metavar="NAME", help="As change_account; openapi names them all."),
        click.option("--tenant", metavar="TENANT", shell_complete=completion.tenants, help="For this tenant."),
    ):
        function = option(function)
    return function


@click.group("command-log", cls=Noun)
def command() -> None:
    """The command log: who did what."""


@command.command("list")
@filter_options
@paging_options
@verb
def list_(session: Session, /, **given: Any) -> None:
    """Commands by API and command line, newest first, with secrets masked."""
    paging = Paging.of(given)
    session.show(paging.collect(session, operations.LIST_COMMANDS, query=given), _show_list)


@command.command("export")
@filter_options
@verb
def export(session: Session, /, **given: Any) -> None:
    """The same as JSON lines, all of them, on standard output."""
    session.stream(operations.EXPORT_COMMANDS, query=given)


@command.command("purge")
@click.option("--before", required=True, metavar="TIME", help="Forget what was done before it.")
@yes_option
@verb
def purge(session: Session, before: str, yes: bool) -> None:
    """Forget commands, whatever the policy keeps."""
    confirm(f"Forget all commands before {before}?", yes=yes)
    found = session.call(operations.PURGE_COMMANDS, query={"before": before})
    session.show(found, lambda found: click.echo(f"{found['removed']} forgotten"))


def _show_list(found: Any) -> None:
    show_rows(found["items"], COLUMNS, spare=SPARE)
    say_more(found["next_cursor"])
