"""Checks of settings against each other; each answers a Mistake, or None. Pure: what needs the disk is in `relay.cli`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from relay.clock import show_duration
from relay.config.sections import Config


class Mistake(NamedTuple):
    """The key at fault, and what is wrong with it."""

    section: str
    name: str
    text: str


def certificate(config: Config) -> Mistake | None:
    """A certificate and its key come together, and TLS needs both."""
    smtp = config.smtp
    for section, door in (("smtp", smtp), ("api", config.api)):
        if door.certificate and not door.private_key:
            return Mistake(section, "certificate", "needs private_key as well")
        if door.private_key and not door.certificate:
            return Mistake(section, "private_key", "needs certificate as well")
    if smtp.tls_listen and not smtp.certificate:
        return Mistake("smtp", "tls_listen", "needs certificate and private_key")
    return None


def listeners(config: Config) -> Mistake | None:
    """No address is listened on twice (port 0 is a new one each time)."""
    seen: dict[object, str] = {}
    for section, name, endpoints in (
        ("smtp", "listen", config.smtp.listen),
        ("smtp", "tls_listen", config.smtp.tls_listen),
        ("api", "listen", config.api.listen),
    ):
        for endpoint in endpoints:
            if endpoint.port and endpoint in seen:
                return Mistake(
                    section, name, f"{endpoint} is also in {seen[endpoint]}; each needs an address of its own"
                )
            seen[endpoint] = f"{section}.{name}"
    return None


def spool(config: Config) -> Mistake | None:
    """PostgreSQL keeps content in the database, where every instance finds it."""
    if config.storage.spool and not config.storage.url.startswith("sqlite:"):
        return Mistake("storage", "spool", "is for SQLite; PostgreSQL keeps content in the database: leave it empty")
    return None


def connections(config: Config) -> Mistake | None:
    """One client may have no more connections than all."""
    smtp = config.smtp
    if smtp.max_connections_per_client > smtp.max_connections:
        text = f"{smtp.max_connections_per_client} is more than max_connections ({smtp.max_connections})"
        return Mistake("smtp", "max_connections_per_client", text)
    return None


def max_age(config: Config) -> Mistake | None:
    """An end before the first retry would be no retry at all."""
    retry = config.retry
    if retry.max_age is not None and retry.max_age < retry.schedule[0]:
        return Mistake("retry", "max_age", "is shorter than the first delay of schedule: nothing would be tried again")
    return None


def hints(config: Config) -> Mistake | None:
    """The bounds of a delay that a reply asks for."""
    retry = config.retry
    if retry.hint_max is not None and retry.hint_max < retry.hint_min:
        return Mistake("retry", "hint_max", f"is less than hint_min ({show_duration(retry.hint_min)})")
    return None


def retention(config: Config) -> Mistake | None:
    """What happened to a message is known for as long as the message is."""
    kept = config.retention
    if kept.events is not None and (kept.messages is None or kept.events < kept.messages):
        return Mistake("retention", "events", "is shorter than messages: a message would outlive its own story")
    return None


CHECKS: tuple[Callable[[Config], Mistake | None], ...] = (
    certificate,
    listeners,
    spool,
    connections,
    max_age,
    hints,
    retention,
)
