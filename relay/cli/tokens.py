"""`stagepost tokens`."""

from __future__ import annotations

import click

from relay.cli.options import tenant_option
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, segment, verb, without_nothing

COLUMNS = {"Token": "id", "Name": "name", "Tenant": "tenant", "Scopes": "scopes", "Expires": "expires_at"}


@click.group("tokens")
def command() -> None:
    """Tokens: what REST clients present."""


@command.command("add")
@click.argument("name")
@tenant_option()
@click.option("--admin", is_flag=True, help="For the instance, and any tenant.")
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE", help="send, read or manage; repeat for more. Else all."
)
@click.option("--expires-at", metavar="TIME", help="RFC 3339, epoch seconds, or from now as +30d.")
@verb
def add(
    session: Session, name: str, tenant: str | None, admin: bool, scopes: tuple[str, ...], expires_at: str | None
) -> None:
    """Make a token and print it; it is shown this once."""
    if admin == bool(tenant):
        raise click.UsageError("Say either --tenant TENANT or --admin.")
    body = without_nothing({"name": name, "tenant": tenant, "scopes": scopes, "expires_at": expires_at})
    session.show(session.request("POST", "/v1/tokens", body=body), show_facts)


@command.command("list")
@tenant_option()
@verb
def list_(session: Session, tenant: str | None) -> None:
    """Tokens, without their secrets."""
    found = session.request("GET", "/v1/tokens", query={"tenant": tenant})
    session.show(found, lambda found: show_rows(found["items"], COLUMNS))


@command.command("revoke")
@click.argument("token")
@verb
def revoke(session: Session, token: str) -> None:
    """Make a token worthless, at once."""
    session.show(session.request("DELETE", f"/v1/tokens/{segment(token)}"), show_facts)
