"""What the REST door is given: the parts behind it, and plain values. Nothing here reads the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from relay.clock import Clock
from relay.contracts.archive import Explainer, MessageArchive
from relay.contracts.commands import CommandLog
from relay.contracts.content import ContentStore
from relay.contracts.directory import AccountProbe, BounceMailboxes, ClientSides, Directory
from relay.contracts.feed import EventFeed
from relay.contracts.limits import LimitMeters
from relay.contracts.queue import Accepted
from relay.contracts.suppressions import SuppressionList
from relay.contracts.suspensions import Suspensions
from relay.intake.refused import Refused
from relay.intake.submission import Submission
from relay.model.instance import Standing
from sidecar_api.streams import StreamTerms


class Intake(Protocol):
    """What the door asks of `relay.intake`."""

    async def accept(self, submission: Submission) -> Accepted:
        """Check, name and commit; durable when this returns. Raises Rejected, StoreUnavailable."""

    async def keep_refused(self, refused: Refused) -> bool:
        """Write down a message that was not accepted, for its client's reports; False where its client id is in use."""

    def check_admission(self) -> None:
        """Whether a new message may begin now: raises Rejected (QUEUE_FULL, SHUTTING_DOWN)."""

    @property
    def max_size(self) -> int:
        """The largest message, in octets."""

    @property
    def max_recipients(self) -> int:
        """The most recipients of one message."""


@dataclass(frozen=True, slots=True)
class Services:
    """`metrics` gives an exposition for Prometheus; `readiness` names the ill parts and what ails them (empty: ready);
    `standing` says how this process stands; `follow` has it act by the instance's settings as they are now; `max_body` is of
    a JSON body, in octets."""

    intake: Intake
    limits: LimitMeters
    archive: MessageArchive
    contents: ContentStore
    directory: Directory
    commands: CommandLog
    suspensions: Suspensions
    suppressions: SuppressionList
    feed: EventFeed
    client_sides: ClientSides
    bounce_mailboxes: BounceMailboxes
    probe: AccountProbe
    explainer: Explainer
    metrics: Callable[[], Awaitable[bytes]]
    readiness: Callable[[], Awaitable[Mapping[str, str]]]
    standing: Callable[[], Standing]
    follow: Callable[[], Awaitable[None]]
    clock: Clock
    version: str
    hostname: str
    max_body: int = 50 * 1024 * 1024
    body_memory: int = 128 * 1024 * 1024
    """Octets of large JSON bodies held at a time; a request beyond waits its turn unread."""
    header_prefix: str = "X-Stagepost-"
    requests_per_minute: int | None = None
    """Of one token, in this process; None is no limit."""
    streams: StreamTerms = field(default_factory=StreamTerms)
    cors_origins: frozenset[str] = frozenset()
    """Whose pages may call from a browser; `*` is any."""
    genro_mail_proxy: bool = True
    """Whether the paths of genro-mail-proxy are served."""
