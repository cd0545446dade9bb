"""Intake: where a submission becomes a queued message."""

from __future__ import annotations

from relay.contracts import Accepted
from relay.intake.submission import Submission


class Intake:
    """The one function in which every door ends."""

    async def accept(self, submission: Submission) -> Accepted:
        """Check, name and commit; durable when this returns. Raises Rejected, StoreUnavailable."""
        raise NotImplementedError

    def check_admission(self) -> None:
        """Whether a new message may begin now: raises Rejected (QUEUE_FULL, SHUTTING_DOWN)."""
        raise NotImplementedError

    @property
    def max_size(self) -> int:
        """The largest message, in octets."""
        raise NotImplementedError

    @property
    def max_recipients(self) -> int:
        """The most recipients of one message."""
        raise NotImplementedError
