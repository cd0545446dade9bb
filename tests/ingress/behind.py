"""What stands behind a door in its tests: an intake, a directory and an observer that record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from relay.contracts.queue import Accepted
from relay.errors import Rejected
from relay.intake.submission import Submission
from relay.model.message import QueueId
from relay.model.reply import Reply
from relay.model.tenant import Credential
from relay.secrets import hash_generated


@dataclass
class RecordingIntake:
    """Satisfies MessageIntake: takes every message, or fails as it is told."""

    max_size: int = 10_000_000
    max_recipients: int = 100
    refusal: Rejected | None = None
    """Raised at MAIL."""
    before: Exception | None = None
    """Raised before anything is read."""
    midway: Exception | None = None
    """Raised after the first piece."""
    after: Exception | None = None
    """Raised after all is read."""
    keep: bool = True
    gate: asyncio.Event | None = None
    """Commits wait for it."""
    at_commit: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[tuple[Submission, bytes]] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    faulted: asyncio.Event = field(default_factory=asyncio.Event)

    def check_admission(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def accept(self, submission: Submission) -> Accepted:
        try:
            return await self._accept(submission)
        except BaseException as fault:
            self.faults.append(fault)
            self.faulted.set()
            raise

    async def _accept(self, submission: Submission) -> Accepted:
        if self.before is not None:
            raise self.before
        content = b""
        async for piece in submission.content:
            self.pieces.append(len(piece))
            if self.midway is not None:
                raise self.midway
            if self.keep:
                content += piece
        if self.after is not None:
            raise self.after
        self.at_commit.set()
        if self.gate is not None:
            await self.gate.wait()
        self.messages.append((submission, content))
        return Accepted(QueueId(f"Q{len(self.messages)}"))


@dataclass
class People:
    """Satisfies Credentials."""

    known: dict[str, Credential] = field(default_factory=dict)
    unavailable: Exception | None = None

    def add(
        self,
        username: str,
        secret: str | None = None,
        *networks: IPv4Network | IPv6Network,
        tenant: str = "acme",
        allowed_senders: tuple[str, ...] = (),
    ) -> Credential:
        stored = hash_generated(secret) if secret is not None else None
        credential = Credential(username, tenant, stored, networks, allowed_senders=allowed_senders)
        self.known[username] = credential
        return credential

    @property
    def generation(self) -> int:
        return -1 if self.unavailable else hash(tuple(map(id, self.known.values()))) & 0xFFFFFF

    async def credential(self, username: str) -> Credential | None:
        if self.unavailable is not None:
            raise self.unavailable
        return self.known.get(username)

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        return [one for one in self.known.values() if tenant in {None, one.tenant}]


@dataclass
class RecordingObserver:
    """Satisfies DoorObserver."""

    told: list[str] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_opened(self, peer: str) -> None:
        self.told.append(f"opened {peer}")

    def connection_closed(self, peer: str) -> None:
        self.told.append(f"closed {peer}")
        asyncio.get_running_loop().call_soon(self.closed.set)  # when the door has counted it, too

    def connection_refused(self, peer: str) -> None:
        self.told.append(f"refused {peer}")

    def auth_failed(self, peer: str, username: str) -> None:
        self.told.append(f"auth failed {peer} {username}")

    def message_rejected(self, peer: str, principal: str | None, sender: str, reply: Reply) -> None:
        self.told.append(f"rejected {peer} {principal} <{sender}> {reply.code}")
