"""Instance: the settings of a store's relay that change while it runs, and how a process of it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """The scheduler's."""

    active: bool = True
    """Whether anything is attempted."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Settings, kept in the store: all that share it have them in common."""

    name: str | None = None
    """For people."""
    dispatch: DispatchSettings = DispatchSettings()


@dataclass(frozen=True, slots=True)
class Door:
    """A socket at which it listens."""

    kind: str
    """`smtp` or `api`."""
    address: str
    tls: str
    """`none`, `starttls` or `implicit`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the process that is asked stands; `since` None: no relay runs."""

    since: int | None
    store: str
    """`sqlite` or `postgresql`."""
    workers: int
    doors: tuple[Door, ...]
    dispatching: bool
    """Whether it attempts anything now: its configuration and the settings both say so."""
