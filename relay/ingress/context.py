"""What the sessions of one door share."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Protocol

from relay.contracts.queue import Accepted
from relay.ingress.authenticator import Authenticator
from relay.ingress.data_reader import Pace
from relay.ingress.settings import DoorObserver, DoorSettings
from relay.intake.submission import Submission


class MessageIntake(Protocol):
    """What the door asks of intake (relay.intake.accept.Intake)."""

    @property
    def max_size(self) -> int:
        """The largest message, in octets."""

    @property
    def max_recipients(self) -> int:
        """The most recipients of one message."""

    def check_admission(self) -> None:
        """Whether a new message may begin now: raises Rejected."""

    async def accept(self, submission: Submission) -> Accepted:
        """Durable when it returns. Raises Rejected, StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class DoorContext:
    """`tls`: None where STARTTLS cannot be offered."""

    intake: MessageIntake
    authenticator: Authenticator
    settings: DoorSettings
    observer: DoorObserver
    pace: Pace
    tls: ssl.SSLContext | None
