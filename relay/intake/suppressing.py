"""Suppressing: who of a new message's recipients is on the tenant's list is not sent to.

The message is accepted all the same, at every door: a refusal would make an application fail for one dead address among
its customers', and SMTP clients would bounce or repeat what the relay has understood well. The outcome says what happened.
"""

from __future__ import annotations

from dataclasses import replace

from relay.model.delivery import NewMessage
from relay.model.message import RecipientState, derive_state
from relay.model.suppression import Found, suppressed_event


def spare(new: NewMessage, found: Found) -> NewMessage:
    """The same with those recipients suppressed that stand on the tenant's list."""
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
