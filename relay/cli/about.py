"""Commands about the relay as a whole: info, stats, health, token, metrics, openapi."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli.commands import Verb, verb
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import confirm
from relay.cli.session import Session
from relay.cli.tokens import COLUMNS
from sidecar_api import operations

if TYPE_CHECKING:
    from sidecar_api.client import Client

ADMIN = "admin"
"""The name of the token that a first start makes."""


@click.command("info", cls=Verb)
@verb
def info(session: Session) -> None:
    """Where the relay is, its version, whether it runs and is well."""
    facts: dict[str, Any] = {"url": session.where.url} if session.where.url else _local_facts(session)
    facts |= {"version": session.call(operations.SHOW_LIVE)["version"]}
    session.show(facts, show_facts)


def _local_facts(session: Session) -> dict[str, Any]:
    from relay.instance import serving_pid

    config = session.config
    scheme = "https" if config.api.certificate else "http"
    return {
        "instance": session.where.instance,
        "pid": serving_pid(config.server.data_dir),
        "smtp": [str(one) for one in (*config.smtp.listen, *config.smtp.tls_listen)],
        "api": [f"{scheme}://{one}" for one in config.api.listen],
        "data_dir": str(config.server.data_dir),
        "store": config.storage.url.masked,
    }


@click.command("stats", cls=Verb)
@verb
def stats(session: Session) -> None:
    """How many there are: tenants, accounts, and deliveries by state."""

    async def count(api: Client) -> dict[str, Any]:
        tenants = (await api.call(operations.LIST_TENANTS))["items"]
        accounts = (await api.call(operations.LIST_ACCOUNTS))["items"]
        queue = await api.call(operations.SHOW_QUEUE)
        return {"tenants": len(tenants), "accounts": len(accounts), "deliveries": dict(queue["totals"])}

    session.show(session.run(count), show_facts)


@click.command("health", cls=Verb)
@click.option("--live", is_flag=True, help="Only whether it answers.")
@verb
def health(session: Session, live: bool) -> None:
    """Whether the relay answers and can do its work; exit 75 where it cannot, and which part is ill."""
    session.show(session.call(operations.SHOW_LIVE if live else operations.SHOW_READY), show_facts)


@click.command("token", cls=Verb)
@click.option("--regenerate", "-r", is_flag=True, help="Make a new one; the old ones of that name end at once.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def token(session: Session, regenerate: bool, yes: bool) -> None:
    """The admin tokens. Their secrets are not kept: one that is lost is made anew by --regenerate."""
    admins = [one for one in session.call(operations.LIST_TOKENS)["items"] if one["tenant"] is None]
    if not regenerate:
        session.show(
            {"items": admins}, lambda found: show_rows(found["items"], COLUMNS, spare=("Networks", "Last used"))
        )
        return
    old = [one["id"] for one in admins if one["name"] == ADMIN]
    if old:
        confirm("Make a new admin token? Whoever has the old one is shut out at once.", yes=yes)

    async def replace(api: Client) -> Any:
        made = await api.call(operations.ADD_TOKEN, json={"name": ADMIN})
        for one in old:
            await api.call(operations.REVOKE_TOKEN, one)
        return made

    session.show(session.run(replace), show_facts)


@click.command("metrics", cls=Verb)
@verb
def metrics(session: Session) -> None:
    """Metrics, as Prometheus reads them."""
    session.stream(operations.SHOW_METRICS)


@click.command("openapi", cls=Verb)
@verb
def openapi(session: Session) -> None:
    """The API's description (OpenAPI 3.1)."""
    session.show_json(session.call(operations.SHOW_OPENAPI))
