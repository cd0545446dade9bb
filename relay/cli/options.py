"""Options that several nouns share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

INSTANCE = "*"
"""How the API names the owner of what serves every tenant."""


def tenant_option(*, required: bool = False) -> Callable[[F], F]:
    """--tenant."""
    return click.option("--tenant", metavar="TENANT", required=required, help="The tenant it belongs to.")


def owner_options(function: F) -> F:
    """--tenant or --instance."""
    instance = click.option("--instance", is_flag=True, help="Serve every tenant that has none of its own.")
    return tenant_option()(instance(function))


def owner(tenant: str | None, *, instance: bool) -> str | None:
    """The owner as the API names it; None where neither was said."""
    if tenant and instance:
        raise click.UsageError("--tenant and --instance exclude each other.")
    return INSTANCE if instance else tenant


def required_owner(tenant: str | None, *, instance: bool) -> str:
    """The same, where one must be said."""
    if (said := owner(tenant, instance=instance)) is None:
        raise click.UsageError("Whose is it? Say --tenant TENANT, or --instance for all tenants.")
    return said


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person; a program, which has no terminal, is taken at its word."""
    import sys

    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
