"""Slots: whether an attempt has used up the slot it took under its limits. Pure; its test is a table.

The line is the final dot: what ended before it was certainly not taken by the receiver (relay.delivery.transaction), what
came after it may have been. Where nothing is known, it has been used: a limit may be missed by nobody, least of all by one.
"""

from __future__ import annotations

from relay.model.delivery import Attempt, LeasedDelivery, Phase


def is_spent(delivery: LeasedDelivery, attempt: Attempt) -> bool:
    """Whether the receiver may have got the mail, or has refused the whole of it."""
    for outcome in attempt.outcomes:
        if outcome.phase is Phase.DOT:
            return True
    if attempt.fault is not None:
        return attempt.fault.phase is Phase.DOT
    return len(attempt.outcomes) < len(delivery.recipients)
