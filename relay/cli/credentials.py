"""`stagepost credentials`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.options import required_owner, tenant_option, yes_option
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import confirm_softly, read_secret
from relay.cli.session import Session
from relay.cli.settings import Setting, change_options, must_change, setting_options
from sidecar_api import operations

COLUMNS = {
    "User name": "username",
    "Tenant": "tenant",
    "Secret": "has_secret",
    "Networks": "networks",
    "Account": "account",
    "Allowed senders": "allowed_senders",
}
SETTINGS = (
    Setting("--cidr", "networks", "Clients of this network need no AUTH; repeat.", "NETWORK", several=True),
    Setting("--account", "account", "Its mail goes by this account.", "ACCOUNT"),
    Setting("--allowed-sender", "allowed_senders", "Or @domain; repeat. Else any.", "ADDRESS", several=True),
    Setting("--priority", "priority", "Default of its mail: immediate, high, medium or low.", "PRIORITY"),
    Setting("--batch", "batch", "Default of its mail.", "BATCH"),
    Setting("--tag", "tags", "Default of its mail; repeat for more.", "TAG", several=True),
)


@click.group("credentials", cls=Noun)
def command() -> None:
    """Credentials: what SMTP clients present."""


@command.command("add")
@click.argument("username")
@tenant_option
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input; else one is made and printed.")
@setting_options(SETTINGS)
@verb
def add(session: Session, username: str, tenant: str | None, secret_stdin: bool, settings: dict[str, Any]) -> None:
    """Make a credential and print its secret, which is shown this once."""
    whose = required_owner(session, tenant, may_share=False)
    if secret_stdin:
        settings["secret"] = read_secret("The secret", from_stdin=True)
    made = session.call(operations.ADD_CREDENTIAL, query={"tenant": whose}, json={"username": username, **settings})
    session.show(made, show_facts)


@command.command("list")
@tenant_option
@verb
def list_(session: Session, tenant: str | None) -> None:
    """Credentials, without their secrets."""
    found = session.call(operations.LIST_CREDENTIALS, query={"tenant": tenant})
    session.show(found, lambda found: show_rows(found["items"], COLUMNS, spare=["Account"]))


@command.command("show")
@click.argument("username", shell_complete=completion.credentials)
@verb
def show(session: Session, username: str) -> None:
    """One credential."""
    session.show(session.call(operations.SHOW_CREDENTIAL, username), show_facts)


@command.command("change")
@click.argument("username", shell_complete=completion.credentials)
@change_options(SETTINGS)
@verb
def change(session: Session, username: str, settings: dict[str, Any]) -> None:
    """Change what is named, and leave the rest as it is; its secret by: rotate."""
    session.show(session.call(operations.CHANGE_CREDENTIAL, username, json=must_change(settings)), show_facts)


@command.command("rotate")
@click.argument("username", shell_complete=completion.credentials)
@click.option("--overlap", metavar="TIME", help="How long the old secret stays good, such as 1h; else a day.")
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input; else one is made and printed.")
@verb
def rotate(session: Session, username: str, overlap: str | None, secret_stdin: bool) -> None:
    """Give it a new secret and print it, this once."""
    body = {"overlap": overlap} if overlap else {}
    if secret_stdin:
        body["secret"] = read_secret("The secret", from_stdin=True)
    session.show(session.call(operations.ROTATE_CREDENTIAL, username, json=body), show_facts)


@command.command("delete")
@click.argument("username", shell_complete=completion.credentials)
@yes_option
@verb
def delete(session: Session, username: str, yes: bool) -> None:
    """Delete a credential, at once."""
    confirm_softly(f"Delete credential {username}?", yes=yes)
    session.show(session.call(operations.DELETE_CREDENTIAL, username), show_facts)
