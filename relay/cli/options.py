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


def retry_options(function: F) -> F:
    """How retries differ from the level above."""
    for option in (
        click.option("--max-attempts", type=click.IntRange(1), metavar="N", help="Give up after so many attempts."),
        click.option("--max-age", metavar="TIME", help="Give up when a message is older, such as 2d."),
        click.option("--retry-jitter", metavar="PERCENT", help="How far a delay may stray, such as 10%."),
        click.option("--retry-schedule", metavar="TIMES", help="The delay before each retry, such as 1m,5m,1h."),
    ):
        function = option(function)
    return function


def retry_body(
    schedule: str | None, jitter: str | None, max_age: str | None, max_attempts: int | None
) -> dict[str, Any] | None:
    """The same as the API takes it; None where nothing was said."""
    given = {
        "schedule": [part.strip() for part in schedule.split(",")] if schedule else None,
        "jitter": _share(jitter) if jitter else None,
        "max_age": max_age,
        "max_attempts": max_attempts,
    }
    return {name: value for name, value in given.items() if value is not None} or None


def _share(percent: str) -> float:
    try:
        return float(percent.strip().removesuffix("%")) / 100
    except ValueError:
        raise click.UsageError("--retry-jitter is a percentage such as 10%.") from None


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person; a program, which has no terminal, is taken at its word."""
    import sys

    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
