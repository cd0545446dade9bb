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
    """Received and our id. What a client said of itself is cut to the letters of a host name."""
    helo = _NOT_HELO.sub("", trace.helo)[:255]
    peer = f"[IPv6:{trace.peer}]" if ":" in trace.peer else f"[{trace.peer}]"
    origin = f"{helo} ({peer})" if helo else peer
    tls = f"\r\n\t(using {trace.tls})" if trace.tls else ""
    return (
        f"Received: from {origin}{tls}\r\n\tby {hostname} with {trace.protocol} id {queue_id};"
        f"\r\n\t{_date(now // SECOND)}\r\n"
        f"{prefix}ID: {queue_id}\r\n"
    ).encode("ascii", "replace")


def missing_fields(header: HeaderSection, message_id: str, now: int) -> bytes:
    """Date and Message-ID (RFC 5322 §3.6) where the client left them out (RFC 6409 §8)."""
    fields = b"" if header.has_date else f"Date: {_date(now // SECOND)}\r\n".encode("ascii")
    return fields if header.message_id else fields + f"Message-ID: {message_id}\r\n".encode("ascii")


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
