"""Digest and key: by what a message that is handed in again is known."""

from __future__ import annotations

import hashlib

from relay.clock import DAY
from relay.intake.submission import Submission
from relay.model.control import Controls
from relay.model.delivery import NewKey
from relay.model.tenant import Tenant

KEY_KEPT = DAY
"""How long an idempotency key holds after its message was to be sent."""


class Digest:
    """SHA-256 over the envelope and the content as handed in, without what intake adds or takes away."""

    def __init__(self, submission: Submission, *, given: str | None = None) -> None:
        """`given`: the door's own digest, where it knows better."""
        self._given = given
        envelope = submission.envelope
        self._hash = hashlib.sha256("\0".join((envelope.sender, *envelope.recipients)).encode("utf-8", "replace"))

    def update(self, piece: bytes) -> None:
        """More content."""
        if not self._given:
            self._hash.update(piece)

    def hexdigest(self) -> str:
        """The door's own digest where it gave one."""
        return self._given or self._hash.hexdigest()


def begin_digest(submission: Submission, controls: Controls, tenant: Tenant, message_id: str | None) -> Digest | None:
    """For a message that is to be known again: one with a key, or with a Message-ID of its own where its tenant has
    duplicates found."""
    if controls.idempotency_key:
        return Digest(submission, given=submission.digest)
    return Digest(submission) if tenant.duplicates_window and message_id else None


def key_of(digest: Digest | None, controls: Controls, tenant: Tenant, message_id: str, now: int) -> NewKey | None:
    """By what it is known, and until when. A client's key never begins with a blank."""
    if digest is None:
        return None
    value = digest.hexdigest()
    if controls.idempotency_key:
        return NewKey(controls.idempotency_key, value, max(now, controls.not_before or 0) + KEY_KEPT)
    own = hashlib.sha256(f"{message_id}\0{value}".encode("utf-8", "replace")).hexdigest()
    return NewKey(f" {own}", value, now + (tenant.duplicates_window or 0))
