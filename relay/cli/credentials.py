"""`stagepost credentials`."""

from __future__ import annotations

import click

from relay.cli.options import tenant_option
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, read_secret, segment, verb, without_nothing

COLUMNS = {
    "User name": "username",
    "Tenant": "tenant",
    "Secret": "has_secret",
    "Networks": "networks",
    "Account": "account",
    "Allowed senders": "allowed_senders",
}


@click.group("credentials")
def command() -> None:
    """Credentials: what SMTP clients present."""


@command.command("add")
@click.argument("username")
@tenant_option(required=True)
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input; else one is made and printed.")
@click.option(
    "--cidr", "networks", multiple=True, metavar="NETWORK", help="Clients of this network need no AUTH; repeat."
)
@click.option("--account", metavar="ACCOUNT", help="Its mail goes by this account.")
@click.option("--allowed-sender", "senders", multiple=True, metavar="ADDRESS", help="Or @domain; repeat. Else any.")
@click.option("--priority", metavar="PRIORITY", help="Default of its mail: immediate, high, medium or low.")
@click.option("--batch", metavar="BATCH", help="Default of its mail.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Default of its mail; repeat for more.")
@verb
def add(
    session: Session,
    username: str,
    tenant: str,
    secret_stdin: bool,
    networks: tuple[str, ...],
    account: str | None,
    senders: tuple[str, ...],
    priority: str | None,
    batch: str | None,
    tags: tuple[str, ...],
) -> None:
    """Make a credential and print its secret, which is shown this once."""
    body = {
        "username": username,
        "secret": read_secret("The secret", from_stdin=True) if secret_stdin else None,
        "networks": networks,
        "account": account,
        "allowed_senders": senders,
        "priority": priority,
        "batch": batch,
        "tags": tags,
    }
    made = session.request("POST", "/v1/credentials", query={"tenant": tenant}, body=without_nothing(body))
    session.show(made, show_facts)


@command.command("list")
@tenant_option()
@verb
def list_(session: Session, tenant: str | None) -> None:
    """Credentials, without their secrets."""
    found = session.request("GET", "/v1/credentials", query={"tenant": tenant})
    session.show(found, lambda found: show_rows(found["items"], COLUMNS))


@command.command("delete")
@click.argument("username")
@verb
def delete(session: Session, username: str) -> None:
    """Delete a credential, at once."""
    session.show(session.request("DELETE", f"/v1/credentials/{segment(username)}"), show_facts)
