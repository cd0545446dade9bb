"""Reply rule: an operator's own word on what a reply means, before the table of relay.delivery.classify.

Matching takes time in proportion to the reply, whatever is written in it: a rule has words to be found one after the other,
no regular expression.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.model.delivery import Category, Phase
from relay.model.reply import Reply
from relay.model.word import Word

MAIL_PHASES = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT})
"""Where a reply speaks of mail: what a session is refused with before is always the account's fault."""


class RuleOutcome(Word):
    """What a reply may be made to mean: never that mail was sent."""

    DEFERRED = "deferred"
    FAILED = "failed"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """Fits a 4yz or 5yz reply where everything that it names fits."""

    outcome: RuleOutcome
    phases: frozenset[Phase] = MAIL_PHASES
    code: str = "xxx"
    """Three of digits and `x`, which is any."""
    enhanced: tuple[str, str, str] | None = None
    """Class, subject and detail (RFC 3463), `*` is any; None asks for none."""
    words: tuple[str, ...] = ()
    """In lower case: found in the text in this order, anywhere."""
    category: Category | None = None
    """None: the table's."""
    delay: int | None = None
    """µs until the next attempt, or until the account is tried again; None: as usual."""

    def fits(self, reply: Reply, phase: Phase) -> bool:
        """Whether it speaks of this reply."""
        if phase not in self.phases or any(w not in ("x", c) for w, c in zip(self.code, str(reply.code), strict=True)):
            return False
        if self.enhanced is not None:
            parts = (reply.enhanced or "").split(".")
            if len(parts) != 3 or any(w not in ("*", part) for w, part in zip(self.enhanced, parts, strict=True)):
                return False
        text, at = reply.text.lower(), 0
        for word in self.words:
            if (at := text.find(word, at)) < 0:
                return False
            at += len(word)
        return True
