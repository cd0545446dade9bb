"""Suppressing: who of a new message's recipients is on the tenant's list is not sent to.

The message is accepted all the same, at every door: a refusal would make an application fail for one dead address among
its customers', and SMTP clients would bounce or repeat what the relay has understood well. The outcome says what happened.
"""

from __future__ import annotations

from dataclasses import replace

from relay.contracts import Accepted, SuppressionList
from relay.model.delivery import NewMessage
from relay.model.message import RecipientState, derive_state
from relay.model.suppression import Found, suppressed_event


async def spare_suppressed(new: NewMessage, suppressions: SuppressionList) -> NewMessage:
    """The same with those recipients suppressed that the tenant must not send to; one look-up for all of them."""
    found = await suppressions.find(new.message.tenant, [one.address for one in new.recipients])
    return _without(new, found) if found else new


def _without(new: NewMessage, found: Found) -> NewMessage:
    message = new.message
    recipients = tuple(
        replace(one, state=RecipientState.SUPPRESSED) if one.address in found else one for one in new.recipients
    )
    events = tuple(
        suppressed_event(message.tenant, message.id, one.address, found[one.address], message.accepted_at)
        for one in recipients
        if one.address in found
    )
    state = derive_state(frozenset(one.state for one in recipients))
    return replace(new, message=replace(message, state=state), recipients=recipients, events=(*new.events, *events))


def with_suppressed(accepted: Accepted, new: NewMessage) -> Accepted:
    """The queue's answer, with who is not sent to."""
    spared = frozenset(one.address for one in new.recipients if one.state is RecipientState.SUPPRESSED)
    return replace(accepted, suppressed=spared) if spared else accepted
