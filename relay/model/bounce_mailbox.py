"""Bounce mailbox: the IMAP mailbox of the instance into which notifications of failed mail come."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BounceMailbox:
    """`host` None: none is set up."""

    enabled: bool = False
    host: str | None = None
    port: int = 993
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    folder: str = "INBOX"
    tls: bool = True
    poll_interval: int = 60_000_000
    """µs."""
    return_path: str | None = None
    """The reverse-path that has notifications come there."""


NO_BOUNCE_MAILBOX = BounceMailbox()
