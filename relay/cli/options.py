"""Options that several nouns share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relay.cli.prompts import ask
from relay.cli.session import Session
from sidecar_api.operations import Item, Listing, T

if TYPE_CHECKING:
    from sidecar_api.client import Client, Query

F = TypeVar("F", bound=Callable[..., Any])

INSTANCE = "*"
"""How the API names the owner of what serves every tenant."""
PAGE = 100
"""Items that are asked for at once."""


def tenant_option(function: F) -> F:
    """--tenant."""
    from relay.cli.completion import tenants

    text = "The tenant it belongs to."
    return click.option("--tenant", metavar="TENANT", shell_complete=tenants, help=text)(function)


def owner_options(function: F) -> F:
    """--tenant or --shared."""
    shared = click.option("--shared", is_flag=True, help="Of all tenants: used by those that have none of their own.")
    return tenant_option(shared(function))


def owner(tenant: str | None, *, shared: bool) -> str | None:
    """The owner as the API names it; None where neither was said."""
    if tenant and shared:
        raise click.UsageError("--tenant and --shared exclude each other.")
    return INSTANCE if shared else tenant


def required_owner(session: Session, tenant: str | None, *, shared: bool = False, may_share: bool = True) -> str | None:
    """The same, where an admin must say one. Of a relay at a URL the token may say whose it is."""
    said = owner(tenant, shared=shared)
    if said is not None or session.where.url:
        return said
    if (asked := ask("Tenant (* for all)" if may_share else "Tenant")) is not None:
        return str(asked)
    raise click.UsageError(f"Whose is it? Say --tenant TENANT{', or --shared for all tenants' if may_share else ''}.")


def yes_option(function: F) -> F:
    """--yes."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


@dataclass(frozen=True, slots=True)
class Paging:
    """How much of a listing is wanted."""

    limit: int | None
    """None: all."""
    cursor: str | None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Paging:
        """Taken out of a verb's keywords."""
        limit, everything = given.pop("limit"), given.pop("everything")
        return cls(None if everything else limit, given.pop("cursor"))

    def collect(self, session: Session, listing: Listing[T, Item], *ids: str, query: Query) -> dict[str, Any]:
        """The items, and the cursor of what was left."""
        items: list[Any] = []
        cursor = self.each_page(session, listing, *ids, query=query, take=items.extend)
        return {"items": items, "next_cursor": cursor}

    def each_page(
        self,
        session: Session,
        listing: Listing[T, Item],
        *ids: str,
        query: Query,
        take: Callable[[list[Any]], object],
    ) -> str | None:
        """Have a page after the other taken, so that none is kept; the cursor of what was left."""

        async def pages(api: Client) -> str | None:
            taken = 0
            cursor: str | None = self.cursor
            while True:
                size = PAGE if self.limit is None else min(PAGE, self.limit - taken)
                page: Any = await api.call(listing, *ids, query={**dict(query), "cursor": cursor, "limit": size})
                take(page["items"])
                taken += len(page["items"])
                cursor = page["next_cursor"]
                if cursor is None or (self.limit is not None and taken >= self.limit):
                    return cursor

        return session.run(pages)


def paging_options(function: F) -> F:
    """--limit, --all and --cursor, of which `Paging.of` makes one."""
    limit = click.option(
        "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, metavar="N", help="At most so many."
    )
    everything = click.option("--all", "everything", is_flag=True, help="All there are.")
    cursor = click.option("--cursor", metavar="CURSOR", help="Go on behind a list that ended with this.")
    return limit(everything(cursor(function)))


def say_more(cursor: str | None) -> None:
    """That a list goes on, and how to see the rest."""
    if cursor:
        click.echo(f"More: --cursor {cursor}, or --all", err=not sys.stdout.isatty())
