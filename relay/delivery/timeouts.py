"""Timeouts: how long each step of the dialogue may take (RFC 5321 §4.5.3.2), in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Each is for one step, none for the whole: a slow server that moves on is a working one."""

    connect: float = 30
    """Resolving the name and the TCP handshake, all addresses together."""
    greeting: float = 300
    """Each reply, and the TLS handshake, up to the end of AUTH."""
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    body: float = 180
    """Without a single octet leaving; what does leave starts it anew."""
    dot: float = 600
    """Long on purpose (§4.5.3.2.6): giving up here is what makes duplicates."""
    reset: float = 20
    quit: float = 5
