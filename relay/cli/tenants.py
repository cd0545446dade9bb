"""`stagepost tenants`."""

from __future__ import annotations

import click

from relay.cli.options import confirm, retry_body, retry_options
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, segment, verb, without_nothing

COLUMNS = {"Tenant": "id", "Name": "name", "Default account": "default_account", "Created": "created_at"}


@click.group("tenants")
def command() -> None:
    """Tenants: who shares this instance."""


@command.command("add")
@click.argument("tenant")
@click.option("--name", help="For people; else the id.")
@retry_options
@verb
def add(
    session: Session,
    tenant: str,
    name: str | None,
    retry_schedule: str | None,
    retry_jitter: str | None,
    max_age: str | None,
    max_attempts: int | None,
) -> None:
    """Make a tenant and print its first token, which is shown this once."""
    retry = retry_body(retry_schedule, retry_jitter, max_age, max_attempts)
    made = session.request("POST", "/v1/tenants", body=without_nothing({"id": tenant, "name": name, "retry": retry}))
    session.show(made, show_facts)


@command.command("list")
@verb
def list_(session: Session) -> None:
    """All tenants."""
    session.show(session.request("GET", "/v1/tenants"), lambda found: show_rows(found["items"], COLUMNS))


@command.command("show")
@click.argument("tenant")
@verb
def show(session: Session, tenant: str) -> None:
    """One tenant."""
    session.show(session.request("GET", f"/v1/tenants/{segment(tenant)}"), show_facts)


@command.command("delete")
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def delete(session: Session, tenant: str, yes: bool) -> None:
    """Delete a tenant with all it owns; refused while mail of it is open."""
    confirm(f"Delete tenant {tenant} with its accounts, credentials, tokens and mail?", yes=yes)
    session.show(session.request("DELETE", f"/v1/tenants/{segment(tenant)}"), show_facts)


@command.command("suspend")
@click.argument("tenant")
@verb
def suspend(session: Session, tenant: str) -> None:
    """Stop all mail of a tenant; it stays queued."""
    session.show(session.request("POST", f"/v1/tenants/{segment(tenant)}/suspend"), show_facts)


@command.command("resume")
@click.argument("tenant")
@click.option("--all", "everything", is_flag=True, help="Its batches as well that were suspended by themselves.")
@verb
def resume(session: Session, tenant: str, everything: bool) -> None:
    """Let the mail of a tenant go again."""
    query = {"all": "true"} if everything else {}
    session.show(session.request("POST", f"/v1/tenants/{segment(tenant)}/resume", query=query), show_facts)
