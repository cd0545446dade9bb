"""Client side: a tenant's own HTTP server, where it takes reports and gives the attachments that its messages name."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.model.word import Word


class ClientAuth(Word):
    """How we show it who calls."""

    NONE = "none"
    BEARER = "bearer"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class ClientSide:
    """`base_url` None: there is none. A path is appended to it; None is the usual one."""

    base_url: str | None = None
    sync_path: str | None = None
    attachment_path: str | None = None
    auth: ClientAuth = ClientAuth.NONE
    user: str | None = None
    secret: str | None = field(default=None, repr=False)
    """The token of `bearer`, the password of `basic`."""
    active: bool = True
    """It wants to be called even when there is nothing to report."""


NO_CLIENT_SIDE = ClientSide()
