"""`stagepost accounts`."""

from __future__ import annotations

import click

from relay.cli.exits import Exit, Failure
from relay.cli.options import owner, owner_options, required_owner, retry_body, retry_options
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, read_secret, segment, verb, without_nothing

COLUMNS = {
    "Account": "id",
    "Tenant": "tenant",
    "Kind": "kind",
    "Host": "host",
    "Port": "port",
    "TLS": "tls",
    "User": "user",
    "Connections": "max_connections",
}
PORTS = {"implicit": 465, "starttls": 587, "none": 25}
"""What a TLS mode is usually met at (RFC 8314, RFC 6409, RFC 5321)."""


@click.group("accounts")
def command() -> None:
    """Accounts: the ways out."""


@command.command("add")
@click.argument("account")
@owner_options
@click.option(
    "--kind", type=click.Choice(["smtp", "capture"]), default="smtp", help="capture keeps mail, never sends it."
)
@click.option("--host", metavar="HOST", help="The next hop.")
@click.option("--port", type=click.IntRange(1, 65535), help="Else 587; 465 with implicit TLS, 25 without TLS.")
@click.option(
    "--tls",
    type=click.Choice(["starttls", "implicit", "none"]),
    default="starttls",
    show_default=True,
    help="How it is protected.",
)
@click.option("--user", metavar="NAME", help="For AUTH; the password is asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--default", is_flag=True, help="Mail that names no account goes by this one.")
@click.option("--limit-per-minute", "per_minute", type=click.IntRange(1), metavar="N", help="Messages in any minute.")
@click.option("--limit-per-hour", "per_hour", type=click.IntRange(1), metavar="N", help="Messages in any hour.")
@click.option("--limit-per-day", "per_day", type=click.IntRange(1), metavar="N", help="Messages in any day.")
@click.option("--max-connections", type=click.IntRange(1), metavar="N", help="Connections at once.")
@click.option(
    "--on-unknown",
    type=click.Choice(["retry", "hold"]),
    help="What follows when the reply to a whole message never came: retry (a duplicate rather than a loss), or hold.",
)
@retry_options
@verb
def add(
    session: Session,
    account: str,
    tenant: str | None,
    instance: bool,
    kind: str,
    host: str | None,
    port: int | None,
    tls: str,
    user: str | None,
    password_stdin: bool,
    default: bool,
    per_minute: int | None,
    per_hour: int | None,
    per_day: int | None,
    max_connections: int | None,
    on_unknown: str | None,
    retry_schedule: str | None,
    retry_jitter: str | None,
    max_age: str | None,
    max_attempts: int | None,
) -> None:
    """Make an account. Try it with: stagepost accounts test."""
    whose = required_owner(tenant, instance=instance)
    if password_stdin and not user:
        raise click.UsageError("--password-stdin needs --user.")
    if kind == "smtp" and not host:
        raise click.UsageError("An account needs --host HOST, or --kind capture.")
    limits = without_nothing({"per_minute": per_minute, "per_hour": per_hour, "per_day": per_day})
    body = {
        "id": account,
        "kind": kind,
        "host": host,
        "port": port or PORTS[tls],
        "tls": tls,
        "user": user,
        "password": read_secret("The password", from_stdin=password_stdin) if user else None,
        "max_connections": max_connections,
        "limits": limits or None,
        "on_unknown": on_unknown,
        "retry": retry_body(retry_schedule, retry_jitter, max_age, max_attempts),
        "default": default,
    }
    made = session.request("POST", "/v1/accounts", query={"tenant": whose}, body=without_nothing(body))
    session.show(made, show_facts)


@command.command("list")
@owner_options
@verb
def list_(session: Session, tenant: str | None, instance: bool) -> None:
    """Accounts, without their passwords."""
    found = session.request("GET", "/v1/accounts", query={"tenant": owner(tenant, instance=instance)})
    session.show(found, lambda found: show_rows(found["items"], COLUMNS))


def _whose(session: Session, account: str, tenant: str | None, *, instance: bool) -> str:
    """The owner that was said, else the only one that has an account of that id."""
    if (said := owner(tenant, instance=instance)) is not None:
        return said
    owners = [one["tenant"] for one in session.request("GET", "/v1/accounts")["items"] if one["id"] == account]
    if len(owners) > 1:
        raise click.UsageError(f"{account} is an account of {', '.join(owners)}: say --tenant TENANT or --instance.")
    if not owners:
        raise Failure(Exit.FAILED, f"there is no account {account}; stagepost accounts list shows what there is")
    return str(owners[0])


@command.command("show")
@click.argument("account")
@owner_options
@verb
def show(session: Session, account: str, tenant: str | None, instance: bool) -> None:
    """One account."""
    query = {"tenant": _whose(session, account, tenant, instance=instance)}
    session.show(session.request("GET", f"/v1/accounts/{segment(account)}", query=query), show_facts)


@command.command("test")
@click.argument("account")
@owner_options
@verb
def test(session: Session, account: str, tenant: str | None, instance: bool) -> None:
    """Connect, secure, authenticate, say goodbye; exit 1 where that fails."""
    query = {"tenant": _whose(session, account, tenant, instance=instance)}
    found = session.request("POST", f"/v1/accounts/{segment(account)}/test", query=query)
    session.show(found, show_facts)
    if not found["ok"]:
        raise click.exceptions.Exit(Exit.FAILED)


@command.command("delete")
@click.argument("account")
@owner_options
@verb
def delete(session: Session, account: str, tenant: str | None, instance: bool) -> None:
    """Delete an account; refused while mail waits for it."""
    query = {"tenant": _whose(session, account, tenant, instance=instance)}
    session.show(session.request("DELETE", f"/v1/accounts/{segment(account)}", query=query), show_facts)
