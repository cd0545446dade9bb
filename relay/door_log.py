"""What happens at the SMTP door, told to the mail log and the metrics."""

from __future__ import annotations

from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.reply import Reply


class DoorLog:
    """Satisfies ingress's DoorObserver."""

    def __init__(self, log: MailLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def connection_opened(self, peer: str) -> None:  # noqa: ARG002  # one line for each connection would drown the others
        """Counted, not logged."""
        self._metrics.connections.inc()

    def connection_closed(self, peer: str) -> None:  # noqa: ARG002  # the same
        """Counted, not logged."""
        self._metrics.connections.dec()

    def connection_refused(self, peer: str) -> None:
        """A connection limit was reached."""
        self._metrics.connections_refused.inc()
        self._log.note("connection_refused", {"peer": peer})

    def auth_failed(self, peer: str, username: str) -> None:
        """Unknown user or wrong secret."""
        self._metrics.auth_failed.labels("smtp").inc()
        self._log.note("auth_failed", {"peer": peer, "user": username})

    def message_rejected(self, peer: str, principal: str | None, sender: str, reply: Reply) -> None:
        """MAIL, RCPT or the message was refused."""
        self._metrics.rejected.labels("smtp", str(reply.code)).inc()
        self._log.rejected("smtp", peer, principal or "-", sender, str(reply))
