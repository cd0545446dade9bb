"""The header fields that intake writes on top: Received (RFC 5321 §4.4), our id, and Date and Message-ID if missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from relay.clock import SECOND
from relay.intake.header import HeaderSection
from relay.intake.submission import Trace
from relay.model.message import QueueId

_NOT_HELO = re.compile(r"[^A-Za-z0-9.:_\[\]-]")


def trace_fields(trace: Trace, queue_id: QueueId, hostname: str, prefix: str, now: int) -> bytes:
    """Received and our id."""
    received = _received(trace.protocol, trace.peer, trace.helo, trace.tls, hostname)
    date = _date(now // SECOND)
    return f"{received} id {queue_id};\r\n\t{date}\r\n{prefix}ID: {queue_id}\r\n".encode("ascii", "replace")


@lru_cache(maxsize=1024)
def _received(protocol: str, peer: str, said: str, tls: str | None, hostname: str) -> str:
    """The same for all messages of a session. What a client `said` of itself is cut to the letters of a host name."""
    helo = _NOT_HELO.sub("", said)[:255]
    address = f"[IPv6:{peer}]" if ":" in peer else f"[{peer}]"
    origin = f"{helo} ({address})" if helo else address
    secured = f"\r\n\t(using {tls})" if tls else ""
    return f"Received: from {origin}{secured}\r\n\tby {hostname} with {protocol}"


def missing_fields(header: HeaderSection, message_id: str, now: int) -> bytes:
    """Date and Message-ID (RFC 5322 §3.6) where the client left them out (RFC 6409 §8)."""
    fields = b"" if header.has_date else f"Date: {_date(now // SECOND)}\r\n".encode("ascii")
    return fields if header.message_id else fields + f"Message-ID: {message_id}\r\n".encode("ascii")


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
