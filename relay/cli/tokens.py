"""`stagepost tokens`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.options import tenant_option, yes_option
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import confirm_softly
from relay.cli.session import Session
from relay.cli.settings import Setting, change_options, must_change, setting_options
from sidecar_api import operations

COLUMNS = {
    "Token": "id",
    "Name": "name",
    "Tenant": "tenant",
    "Scopes": "scopes",
    "Expires": "expires_at",
    "Last used": "last_used_at",
    "Networks": "networks",
}
SETTINGS = (
    Setting("--scope", "scopes", "send, read or manage; repeat for more. Else all.", "SCOPE", several=True, kept=True),
    Setting("--expires-at", "expires_at", "RFC 3339, epoch seconds, or from now as +30d.", "TIME"),
    Setting("--cidr", "networks", "From this network only; repeat for more.", "NETWORK", several=True),
)


@click.group("tokens", cls=Noun)
def command() -> None:
    """Tokens: what REST clients present."""


@command.command("add")
@click.argument("name")
@tenant_option
@click.option("--admin", is_flag=True, help="For the instance, and any tenant.")
@setting_options(SETTINGS)
@verb
def add(session: Session, name: str, tenant: str | None, admin: bool, settings: dict[str, Any]) -> None:
    """Make a token and print it; it is shown this once."""
    if (admin and tenant) or not (admin or tenant or session.where.url):
        raise click.UsageError("Say either --tenant TENANT or --admin.")
    body = {"name": name, **({"tenant": tenant} if tenant else {}), **settings}
    session.show(session.call(operations.ADD_TOKEN, json=body), show_facts)


@command.command("list")
@tenant_option
@verb
def list_(session: Session, tenant: str | None) -> None:
    """Tokens, without their secrets."""
    found = session.call(operations.LIST_TOKENS, query={"tenant": tenant})
    session.show(found, lambda found: show_rows(found["items"], COLUMNS, spare=("Networks", "Last used")))


@command.command("show")
@click.argument("token", shell_complete=completion.tokens)
@verb
def show(session: Session, token: str) -> None:
    """One token, without its secret."""
    session.show(session.call(operations.SHOW_TOKEN, token), show_facts)


@command.command("change")
@click.argument("token", shell_complete=completion.tokens)
@click.option("--name", metavar="NAME", help="Another name.")
@change_options(SETTINGS)
@verb
def change(session: Session, token: str, name: str | None, settings: dict[str, Any]) -> None:
    """Change what is named, and leave the rest as it is; its secret by: rotate."""
    body = must_change({**settings, **({"name": name} if name else {})})
    session.show(session.call(operations.CHANGE_TOKEN, token, json=body), show_facts)


@command.command("rotate")
@click.argument("token", shell_complete=completion.tokens)
@click.option("--overlap", metavar="TIME", help="How long the old secret stays good, such as 1h; else a day.")
@verb
def rotate(session: Session, token: str, overlap: str | None) -> None:
    """Give it a new secret and print it, this once."""
    body = {"overlap": overlap} if overlap else {}
    session.show(session.call(operations.ROTATE_TOKEN, token, json=body), show_facts)


@command.command("revoke")
@click.argument("token", shell_complete=completion.tokens)
@yes_option
@verb
def revoke(session: Session, token: str, yes: bool) -> None:
    """Make a token worthless, at once."""
    confirm_softly(f"Revoke token {token}?", yes=yes)
    session.show(session.call(operations.REVOKE_TOKEN, token), show_facts)
