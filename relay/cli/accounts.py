"""`stagepost accounts`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.exits import Exit, Failure
from relay.cli.options import owner, owner_options, required_owner, yes_option
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import ask, confirm_softly, is_interactive, read_secret
from relay.cli.session import Session
from relay.cli.settings import COUNT, LIMITS, RETRY, Setting, change_options, must_change, setting_options
from sidecar_api import operations

COLUMNS = {
    "Account": "id",
    "Tenant": "tenant",
    "Kind": "kind",
    "Host": "host",
    "Port": "port",
    "TLS": "tls",
    "User": "user",
    "Enabled": "enabled",
    "Connections": "max_connections",
}
SPARE = ("Connections", "Kind", "TLS", "Port")
PORTS = {"implicit": 465, "starttls": 587, "none": 25}
"""What a TLS mode is usually met at (RFC 8314, RFC 6409, RFC 5321)."""
UNKNOWN = "When the reply to a whole message never came: retry (a duplicate rather than a loss), or hold."
SETTINGS = (
    Setting("--kind", "kind", "smtp, or capture, which keeps mail and never sends it.", None,
            click.Choice(["smtp", "capture"]), only_new=True),
    Setting("--host", "host", "The next hop.", "HOST", kept=True),
    Setting("--port", "port", "Else 587; 465 with implicit TLS, 25 without.", "PORT", click.IntRange(1, 65535), kept=True),
    Setting("--tls", "tls", "How it is protected; else starttls.", None,
            click.Choice(["starttls", "implicit", "none"]), kept=True),
    Setting("--user", "user", "For AUTH; the password is asked for.", "NAME"),
    *LIMITS,
    Setting("--max-connections", "max_connections", "Connections at once.", "N", COUNT, kept=True),
    Setting("--max-messages-per-connection", "max_messages_per_connection", "Then a new one.", "N", COUNT, kept=True),
    Setting("--batch-size", "batch_size", "The most deliveries taken from the queue at once.", "N", COUNT),
    Setting("--on-unknown", "on_unknown", UNKNOWN, None, click.Choice(["retry", "hold"]), kept=True),
    *RETRY,
)  # fmt: skip


@click.group("accounts", cls=Noun)
def command() -> None:
    """Accounts: the ways out."""


@command.command("add")
@click.argument("account")
@owner_options
@setting_options(SETTINGS)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--default", is_flag=True, help="Mail that names no account goes by this one.")
@verb
def add(
    session: Session,
    account: str,
    tenant: str | None,
    shared: bool,
    settings: dict[str, Any],
    password_stdin: bool,
    default: bool,
) -> None:
    """Make an account. Try it with: stagepost accounts test."""
    whose = required_owner(session, tenant, shared=shared)
    if settings.setdefault("kind", "smtp") == "smtp":
        _complete(settings)
    if password_stdin and "user" not in settings:
        raise click.UsageError("--password-stdin needs --user.")
    if "user" in settings:
        settings["password"] = read_secret("The password", from_stdin=password_stdin)
    made = session.call(
        operations.ADD_ACCOUNT, query={"tenant": whose}, json={"id": account, **settings, "default": default}
    )
    session.show(made, show_facts)


def _complete(settings: dict[str, Any]) -> None:
    """What a smart host needs: a person who did not even say the host is asked for the rest as well."""
    if "host" not in settings:
        if not is_interactive():
            raise click.UsageError("An account needs --host HOST, or --kind capture.")
        settings["host"] = ask("Host")
        settings.setdefault("tls", ask("TLS", default="starttls", kind=click.Choice(list(PORTS))))
        settings.setdefault("port", ask("Port", default=PORTS[settings["tls"]], kind=click.IntRange(1, 65535)))
        if "user" not in settings and (user := ask("User (empty: no login)", default="")):
            settings["user"] = user
    settings.setdefault("tls", "starttls")
    settings.setdefault("port", PORTS[settings["tls"]])


@command.command("list")
@owner_options
@verb
def list_(session: Session, tenant: str | None, shared: bool) -> None:
    """Accounts, without their passwords."""
    found = session.call(operations.LIST_ACCOUNTS, query={"tenant": owner(tenant, shared=shared)})
    session.show(found, lambda found: show_rows(map(_as_row, found["items"]), COLUMNS, spare=SPARE))


def _as_row(account: Any) -> dict[str, Any]:
    """What goes nowhere shows no way there."""
    return {**account, "port": None, "tls": None} if account["kind"] == "capture" else account


def _whose(session: Session, account: str, tenant: str | None, *, shared: bool) -> dict[str, str | None]:
    """The owner that was said, else the only one that has an account of that id; as a query."""
    if (said := owner(tenant, shared=shared)) is not None:
        return {"tenant": said}
    owners = [one["tenant"] for one in session.call(operations.LIST_ACCOUNTS)["items"] if one["id"] == account]
    if len(owners) > 1:
        raise click.UsageError(f"{account} is an account of {', '.join(owners)}: say --tenant TENANT or --shared.")
    if not owners:
        raise Failure(Exit.FAILED, f"there is no account {account}; stagepost accounts list shows what there is")
    return {"tenant": owners[0]}


@command.command("show")
@click.argument("account", shell_complete=completion.accounts)
@owner_options
@verb
def show(session: Session, account: str, tenant: str | None, shared: bool) -> None:
    """One account."""
    query = _whose(session, account, tenant, shared=shared)
    session.show(session.call(operations.SHOW_ACCOUNT, account, query=query), show_facts)


@command.command("change")
@click.argument("account", shell_complete=completion.accounts)
@owner_options
@change_options(SETTINGS)
@click.option("--new-password", is_flag=True, help="Ask for a new password.")
@click.option("--password-stdin", is_flag=True, help="Read a new password from standard input.")
@verb
def change(
    session: Session,
    account: str,
    tenant: str | None,
    shared: bool,
    settings: dict[str, Any],
    new_password: bool,
    password_stdin: bool,
) -> None:
    """Change what is named, and leave the rest as it is; queued mail follows."""
    if new_password or password_stdin:
        settings["password"] = read_secret("The password", from_stdin=password_stdin)
    must_change(settings)
    query = _whose(session, account, tenant, shared=shared)
    session.show(session.call(operations.CHANGE_ACCOUNT, account, query=query, json=settings), show_facts)


@command.command("enable")
@click.argument("account", shell_complete=completion.accounts)
@owner_options
@verb
def enable(session: Session, account: str, tenant: str | None, shared: bool) -> None:
    """Let its mail go again."""
    query = _whose(session, account, tenant, shared=shared)
    session.show(session.call(operations.ENABLE_ACCOUNT, account, query=query), show_facts)


@command.command("disable")
@click.argument("account", shell_complete=completion.accounts)
@owner_options
@verb
def disable(session: Session, account: str, tenant: str | None, shared: bool) -> None:
    """Keep what waits for it, and take no new mail for it."""
    query = _whose(session, account, tenant, shared=shared)
    session.show(session.call(operations.DISABLE_ACCOUNT, account, query=query), show_facts)


@command.command("test")
@click.argument("account", shell_complete=completion.accounts)
@owner_options
@verb
def test(session: Session, account: str, tenant: str | None, shared: bool) -> None:
    """Connect, secure, authenticate, say goodbye; exit 1 where that fails."""
    query = _whose(session, account, tenant, shared=shared)
    found = session.call(operations.TEST_ACCOUNT, account, query=query)
    session.show(found, show_facts)
    if not found["ok"]:
        raise click.exceptions.Exit(Exit.FAILED)


@command.command("delete")
@click.argument("account", shell_complete=completion.accounts)
@owner_options
@yes_option
@verb
def delete(session: Session, account: str, tenant: str | None, shared: bool, yes: bool) -> None:
    """Delete an account; refused while mail waits for it."""
    query = _whose(session, account, tenant, shared=shared)
    confirm_softly(f"Delete account {account} of {query['tenant']}?", yes=yes)
    session.show(session.call(operations.DELETE_ACCOUNT, account, query=query), show_facts)
