"""Digest: what an idempotency key is held against, so that the same key with another message is noticed."""

from __future__ import annotations

import hashlib

from relay.intake.submission import Submission


class Digest:
    """SHA-256 over the envelope and the content as handed in, without what intake adds or takes away."""

    def __init__(self, submission: Submission) -> None:
        self._given = submission.digest
        envelope = submission.envelope
        self._hash = hashlib.sha256("\0".join((envelope.sender, *envelope.recipients)).encode("utf-8", "replace"))

    def update(self, piece: bytes) -> None:
        """More content."""
        if not self._given:
            self._hash.update(piece)

    def hexdigest(self) -> str:
        """The door's own digest where it gave one."""
        return self._given or self._hash.hexdigest()
