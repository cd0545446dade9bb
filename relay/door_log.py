"""What happens at the SMTP door, told to the mail log and the metrics.

Every refusal is counted; of those that a crowd brings about within a second, the log tells a few.
"""

from __future__ import annotations

from relay.clock import SECOND, Clock
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.reply import Reply

LINES_A_SECOND = 20


class Ration:
    """Lines of one kind that the log may still tell in this second."""

    def __init__(self, clock: Clock, lines: int = LINES_A_SECOND) -> None:
        self._clock = clock
        self._lines = lines
        self._since = -SECOND
        self._used = 0
        self._left_out = 0

    def take(self) -> int | None:
        """How many have been left out since the last line; None: leave this one out too."""
        now = self._clock.boot()
        if now - self._since >= SECOND:
            self._since, self._used = now, 0
        if self._used >= self._lines:
            self._left_out += 1
            return None
        self._used += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


class DoorLog:
    """Satisfies ingress's DoorObserver."""

    def __init__(self, log: MailLog, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._connections = Ration(clock)
        self._not_now = Ration(clock)

    def connection_opened(self, peer: str) -> None:  # noqa: ARG002  # one line for each connection would drown the others
        """Counted, not logged."""
        self._metrics.connections.inc()

    def connection_closed(self, peer: str) -> None:  # noqa: ARG002  # the same
        """Counted, not logged."""
        self._metrics.connections.dec()

    def connection_refused(self, peer: str) -> None:
        """A connection limit was reached."""
        self._metrics.connections_refused.inc()
        if (left_out := self._connections.take()) is not None:
            self._log.note("connection_refused", {"peer": peer, "left_out": left_out or None})

    def auth_failed(self, peer: str, username: str) -> None:
        """Unknown user or wrong secret."""
        self._metrics.auth_failed.labels("smtp").inc()
        self._log.note("auth_failed", {"peer": peer, "user": username})

    def message_rejected(self, peer: str, principal: str | None, sender: str, reply: Reply) -> None:
        """MAIL, RCPT or the message was refused: for good, or because of how things stand here."""
        self._metrics.rejected.labels("smtp", str(reply.code)).inc()
        left_out = 0 if reply.code >= 500 else self._not_now.take()
        if left_out is not None:
            self._log.rejected("smtp", peer, principal or "-", sender, str(reply), left_out)
