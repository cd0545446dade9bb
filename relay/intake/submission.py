"""Submission: what a door hands to intake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from relay.model.control import UNSAID, Controls
from relay.model.envelope import Envelope
from relay.model.message import Priority, Source
from relay.model.quick import quick


@dataclass(frozen=True, slots=True)
class Principal:
    """Who hands in: proven by a credential or token, and the only source of the tenant."""

    tenant: str
    name: str
    """The credential's user name, the token's id, or `loopback`: for the log."""
    account: str | None = None
    """Fixed by the credential: a control may not name another."""
    allowed_senders: tuple[str, ...] = ()
    """Addresses, or domains as `@example.com`; empty: any."""
    priority: Priority | None = None
    batch: str | None = None
    tags: tuple[str, ...] = ()


@quick
@dataclass(frozen=True, slots=True)
class Trace:
    """What the Received header field says (RFC 5321 §4.4) and the log."""

    protocol: str
    """As registered for `with`: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, UTF8SMTP…, HTTP."""
    peer: str
    """The client's address."""
    helo: str = ""
    tls: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Submission:
    """A message at the door."""

    source: Source
    principal: Principal
    envelope: Envelope
    content: AsyncIterator[bytes]
    """An RFC 5322 message in pieces of any size: CRLF line ends, not dot-stuffed. Intake reads it to the end, or raises
    and leaves the rest unread (the door then drains or closes)."""
    trace: Trace
    controls: Controls = UNSAID
    """What the door already knows (REST fields). Control header fields in the content are read as well; a value said
    both ways is an error."""
    digest: str | None = None
    """What an idempotency key is held against, where the door knows better than the content's bytes (a REST body)."""
