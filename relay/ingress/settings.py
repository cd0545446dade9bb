"""Settings of the SMTP door, as plain values, and the observer that hears what happens at it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from relay.model.reply import Reply


class AuthWithoutTls(StrEnum):
    """From whom AUTH is taken on a connection that is not encrypted."""

    LOOPBACK = "loopback"  # clients on this machine: nothing goes over a wire
    NEVER = "never"
    ALWAYS = "always"


class BareNewlines(StrEnum):
    """What a CR or LF that stands alone in a message leads to (RFC 5321 §2.3.8, CVE-2023-51764)."""

    REFUSE = "refuse"
    NORMALISE = "normalise"  # becomes CRLF, and still never ends the message


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Durations in seconds. The size and recipient limits are intake's."""

    hostname: str
    auth_without_tls: AuthWithoutTls = AuthWithoutTls.LOOPBACK
    bare_newlines: BareNewlines = BareNewlines.REFUSE
    loopback_tenant: str | None = None
    """Whose mail a client from loopback hands in without AUTH, on listeners bound to loopback alone. None: nobody's."""
    max_connections: int = 1000
    max_connections_per_client: int = 200
    command_timeout: float = 300.0
    """RFC 5321 §4.5.3.2.7; runs from reply to the end of the next command, whatever trickles in between."""
    session_timeout: float = 1200.0
    """How long a client may stay without handing in a message."""
    handshake_timeout: float = 30.0
    data_timeout: float = 180.0
    """How long nothing may come within a message (RFC 5321 §4.5.3.2.5)."""
    data_grace: float = 30.0
    min_data_rate: int = 1024
    """Octets a second that a message must come with, on average, once `data_grace` has passed."""
    max_errors: int = 10
    max_junk: int = 100
    """Commands without effect (NOOP, RSET, VRFY, …) between two messages."""
    max_auth_failures: int = 3
    auth_failure_delay: float = 1.0
    """Until a wrong secret is answered; doubles with each on a connection."""
    auth_failures_per_minute: int = 10
    """For one client address (one /64 of IPv6)."""


class DoorObserver(Protocol):
    """Told what happens at the door, for the mail log and the metrics. Called on the event loop: must not block."""

    def connection_opened(self, peer: str) -> None:
        """A session begins."""

    def connection_closed(self, peer: str) -> None:
        """It has ended, for whatever reason."""

    def connection_refused(self, peer: str) -> None:
        """A connection limit was reached."""

    def auth_failed(self, peer: str, username: str) -> None:
        """Unknown user or wrong secret. `username` is what the client sent, printable and cut."""

    def message_rejected(self, peer: str, principal: str | None, sender: str, reply: Reply) -> None:
        """MAIL, RCPT or the message was refused. `principal` as in Submission, None where nobody is known."""


class SilentObserver:
    """Tells nobody."""

    def connection_opened(self, peer: str) -> None:
        """A session begins."""

    def connection_closed(self, peer: str) -> None:
        """It has ended."""

    def connection_refused(self, peer: str) -> None:
        """A connection limit was reached."""

    def auth_failed(self, peer: str, username: str) -> None:
        """Unknown user or wrong secret."""

    def message_rejected(self, peer: str, principal: str | None, sender: str, reply: Reply) -> None:
        """A refusal."""
