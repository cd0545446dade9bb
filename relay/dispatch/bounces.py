"""Bounces: which refusals put an address on its tenant's list of suppressions. Pure.

A hard bounce is what a server says for good, of the recipient alone, before it has seen the mail: no such mailbox, or one
that is closed. A full mailbox, a policy, a retry that was given up say nothing of whether the address is good.
"""

from __future__ import annotations

from relay.model.delivery import Attempt, Category, LeasedDelivery, Phase, RecipientOutcome, Verdict
from relay.model.suppression import Suppression, SuppressionReason, keys_of
from relay.model.tenant import SuppressOn, Tenant

MAX_NOTE = 200
"""Characters of the reply that are kept."""


def hard_bounces(delivery: LeasedDelivery, attempt: Attempt, owner: Tenant, now: int) -> tuple[Suppression, ...]:
    """What goes on the list, if the tenant wants that."""
    bounced: dict[int, RecipientOutcome] = {}
    for outcome in attempt.outcomes:
        if outcome.verdict is Verdict.FAILED and _is_hard(outcome):
            bounced[outcome.position] = outcome
    if not bounced or owner.suppress_on is not SuppressOn.HARD_BOUNCE:
        return ()
    until = None if owner.suppress_for is None else now + owner.suppress_for
    return tuple(
        Suppression(
            owner.id,
            keys_of(one.address)[0],
            SuppressionReason.HARD_BOUNCE,
            now,
            until,
            _note(bounced[one.position]),
            delivery.message.id,
        )
        for one in delivery.recipients
        if one.position in bounced
    )


def _is_hard(outcome: RecipientOutcome) -> bool:
    return outcome.category is Category.MAILBOX and outcome.phase is Phase.RCPT


def _note(outcome: RecipientOutcome) -> str | None:
    return None if outcome.reply is None else str(outcome.reply)[:MAX_NOTE]
