"""`stagepost tenants`."""

from __future__ import annotations

from typing import Any

import click

from relay.cli import completion
from relay.cli.commands import Noun, verb
from relay.cli.options import yes_option
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import confirm
from relay.cli.session import Session
from relay.cli.settings import LIMITS, RETRY, Setting, change_options, must_change, setting_options
from sidecar_api import operations

COLUMNS = {
    "Tenant": "id",
    "Name": "name",
    "Default account": "default_account",
    "Suspended": "suspended",
    "Created": "created_at",
}
SETTINGS = (
    Setting("--name", "name", "For people; else the id.", "NAME", kept=True),
    *LIMITS,
    *RETRY,
    Setting("--duplicates-window", "duplicates_window",
            "The same Message-ID, envelope and content within it is one message, such as 10m.", "TIME"),
    Setting("--suppress-on", "suppress_on", "What puts an address on the list of suppressions.", None,
            click.Choice(["never", "hard_bounce"]), kept=True),
    Setting("--suppress-for", "suppress_for", "For how long, such as 30d; cleared: for good.", "TIME"),
)  # fmt: skip
LATER = Setting("--default-account", "default_account", "By which its mail goes that names none.", "ACCOUNT")


@click.group("tenants", cls=Noun)
def command() -> None:
    """Tenants: who shares this instance."""


@command.command("add")
@click.argument("tenant")
@setting_options(SETTINGS)
@verb
def add(session: Session, tenant: str, settings: dict[str, Any]) -> None:
    """Make a tenant and print its first token, which is shown this once."""
    session.show(session.call(operations.ADD_TENANT, json={"id": tenant, **settings}), show_facts)


@command.command("list")
@click.option("--active-only", "-a", is_flag=True, help="Without those that are suspended.")
@verb
def list_(session: Session, active_only: bool) -> None:
    """All tenants."""
    found: Any = session.call(operations.LIST_TENANTS)
    if active_only:
        found["items"] = [one for one in found["items"] if not one["suspended"]]
    session.show(found, lambda found: show_rows(found["items"], COLUMNS, spare=["Created"]))


@command.command("show")
@click.argument("tenant", shell_complete=completion.tenants)
@verb
def show(session: Session, tenant: str) -> None:
    """One tenant."""
    session.show(session.call(operations.SHOW_TENANT, tenant), show_facts)


@command.command("change")
@click.argument("tenant", shell_complete=completion.tenants)
@change_options([*SETTINGS, LATER])
@click.option("--domain-limit", "domains", multiple=True, metavar="DOMAIN=N/TIME",
              help="How much mail may go to a domain, as example.net=100/hour; =none lifts it. Repeat.")  # fmt: skip
@verb
def change(session: Session, tenant: str, settings: dict[str, Any], domains: tuple[str, ...]) -> None:
    """Change what is named, and leave the rest as it is."""
    limits: dict[str, Any] = {}
    for text in domains:
        domain, limit = _domain_limit(text)
        limits[domain] = limit if limit is None else {**(limits.get(domain) or {}), **limit}
    body = must_change({**settings, **({"domain_limits": limits} if limits else {})})
    session.show(session.call(operations.CHANGE_TENANT, tenant, json=body), show_facts)


@command.command("suspend")
@click.argument("tenant", shell_complete=completion.tenants)
@verb
def suspend(session: Session, tenant: str) -> None:
    """Stop all mail of a tenant; it stays queued."""
    session.show(session.call(operations.SUSPEND_TENANT, tenant), show_facts)


@command.command("resume")
@click.argument("tenant", shell_complete=completion.tenants)
@click.option("--all", "everything", is_flag=True, help="Its batches as well that were suspended by themselves.")
@verb
def resume(session: Session, tenant: str, everything: bool) -> None:
    """Let the mail of a tenant go again."""
    query = {"all": "true"} if everything else {}
    session.show(session.call(operations.RESUME_TENANT, tenant, query=query), show_facts)


@command.command("delete")
@click.argument("tenant", shell_complete=completion.tenants)
@yes_option
@verb
def delete(session: Session, tenant: str, yes: bool) -> None:
    """Delete a tenant with all it owns; refused while mail of it is open."""
    confirm(f"Delete tenant {tenant} with its accounts, credentials, tokens and mail?", yes=yes)
    session.show(session.call(operations.DELETE_TENANT, tenant), show_facts)


def _domain_limit(text: str) -> tuple[str, dict[str, int] | None]:
    domain, _, limit = text.partition("=")
    count, _, window = limit.partition("/")
    if domain and limit == "none":
        return domain, None
    if not domain or not count.isdecimal() or window not in {"minute", "hour", "day"}:
        raise click.UsageError("--domain-limit is as example.net=100/hour (minute, hour or day), or example.net=none.")
    return domain, {f"per_{window}": int(count)}
