"""`stagepost events`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.options import PAGE, tenant_option
from relay.cli.output import as_text, pick, show_rows
from relay.cli.session import Session
from sidecar_api import operations

if TYPE_CHECKING:
    from sidecar_api.client import Client

COLUMNS = {
    "Sequence": "sequence",
    "At": "at",
    "Event": "kind",
    "Tenant": "tenant",
    "Message": "message",
    "Recipient": "recipient",
    "Facts": "facts",
}
SPARE = ("Tenant", "Sequence", "Facts")


@click.group("events", cls=Noun)
def command() -> None:
    """Events: what happened, of all messages in one order."""


@command.command("list")
@tenant_option
@click.option("--after", metavar="SEQUENCE", help="Behind it; else from the oldest that is kept.")
@click.option("--kind", metavar="KIND", help="Of this kind, as sent or deferred.")
@click.option("--message", metavar="MESSAGE", shell_complete=completion.messages, help="Of this message.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, metavar="N", help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="All there are.")
@verb
def list_(session: Session, /, limit: int, everything: bool, **query: Any) -> None:
    """Events behind a sequence, oldest first; each is given once to who goes on from there."""
    found = session.run(lambda api: _collect(api, query, None if everything else limit))
    session.show(found, _show)


async def _collect(api: Client, query: dict[str, Any], limit: int | None) -> dict[str, Any]:
    items: list[Any] = []
    after = query["after"]
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        page = await api.call(operations.LIST_EVENTS, query={**query, "after": after, "limit": size})
        items += page["items"]
        after = page["next_cursor"]
        if not page["more"] or (limit is not None and len(items) >= limit):
            return {**page, "items": items}


@command.command("follow")
@tenant_option
@click.option("--after", metavar="SEQUENCE", help="From behind it on; else what happens from now on.")
@click.option("--kind", metavar="KIND", help="Of this kind, as sent or deferred.")
@click.option("--message", metavar="MESSAGE", shell_complete=completion.messages, help="Of this message.")
@click.option("--limit", type=click.IntRange(1, 999_999_999), metavar="N", help="End after so many.")
@verb
def follow(session: Session, /, after: str | None, **query: Any) -> None:
    """Events as they happen, a line each, until it is interrupted; none is lost while the relay restarts."""
    session.require_running()
    asked = {**query, "after": after or "latest"}

    async def tell(api: Client) -> None:
        async for event in api.follow(operations.STREAM_EVENTS, query=asked):
            if session.as_json:
                click.echo(json.dumps(event, ensure_ascii=False))
            else:
                click.echo("  ".join(as_text(pick(event, member)) for member in COLUMNS.values()))
            sys.stdout.flush()

    session.run(tell)


def _show(found: Any) -> None:
    show_rows(found["items"], COLUMNS, spare=SPARE)
    click.echo(
        f"{'More' if found['more'] else 'Later ones'}: --after {found['next_cursor']}", err=not sys.stdout.isatty()
    )
