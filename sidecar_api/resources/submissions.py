"""Handing in: one message, or up to 1000 at once, in parts. 202 is said after the commit, and only then."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator

from aiohttp import web

from relay.compose.mime import write
from relay.contracts.queue import Accepted
from relay.errors import Invalid, NotFound, Violation
from relay.intake.controls import read_identifier
from relay.intake.submission import Principal, Submission, Trace
from relay.model.content import Draft
from relay.model.control import Controls
from relay.model.envelope import Envelope
from relay.model.message import MessageState, RecipientState, Source, derive_state
from sidecar_api.auth import tenant_to_send_for
from sidecar_api.call import Call, answer
from sidecar_api.schemas import views
from sidecar_api.schemas.messages import NO_DEFAULTS, Defaults, MessageIn
from sidecar_api.schemas.queries import TenantQuery

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}


class Pieces:
    """The content as intake reads it: made piece by piece as it asks."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def principal_of(call: Call, named: str | None) -> Principal:
    """Who hands in."""
    return Principal(await tenant_to_send_for(call.caller, named, call.services.directory), call.caller.name)


def trace_of(call: Call) -> Trace:
    """What the Received header field says: the peer, and that it came by HTTP."""
    return Trace("HTTP", "local" if call.local else call.request.remote or "unknown")


def idempotency_key(call: Call) -> str | None:
    """The header field's value; Invalid where it is none."""
    given = call.request.headers.getall(IDEMPOTENCY_KEY, ())
    if not given:
        return None
    try:
        if len(given) > 1:
            raise ValueError("stands there more than once")
        return read_identifier(given[0])
    except ValueError as fault:
        raise Invalid(Violation(IDEMPOTENCY_KEY, str(fault))) from None


async def submitted(
    call: Call, tenant: str, accepted: Accepted, envelope: Envelope, client_id: str | None
) -> views.SubmittedOut:
    """The answer: of a new message as it was committed, of a replayed one as it stands."""
    if accepted.replayed:
        try:
            return views.submitted_out(await call.services.archive.message(tenant, accepted.id))
        except NotFound:  # its retention ended after its key was looked up
            pass
    suppressed = accepted.suppressed
    states = [RecipientState.SUPPRESSED if a in suppressed else RecipientState.QUEUED for a in envelope.recipients]
    out: views.SubmittedOut = {
        "id": accepted.id,
        "client_id": client_id,
        "state": derive_state(frozenset(states)) if suppressed else MessageState.OPEN,
        "recipients": [{"address": a, "state": s} for a, s in zip(envelope.recipients, states, strict=True)],
    }
    if accepted.replaces is not None:
        out["replaces"] = accepted.replaces
    return out


def accepted_answer(out: views.SubmittedOut, *, replayed: bool) -> web.Response:
    """202."""
    return answer(202, out, {"Location": f"/v1/messages/{out['id']}", **(REPLAYED if replayed else {})})


async def submit(call: Call) -> web.Response:
    """POST /v1/messages."""
    message = call.given(MessageIn)
    key = idempotency_key(call)
    principal = await principal_of(call, call.asked(TenantQuery).tenant)
    out, replayed = await accept(call, principal, trace_of(call), message, NO_DEFAULTS, key, call.digest)
    return accepted_answer(out, replayed=replayed)


async def accept(
    call: Call,
    principal: Principal,
    trace: Trace,
    message: MessageIn,
    defaults: Defaults,
    key: str | None,
    digest: str | None,
) -> tuple[views.SubmittedOut, bool]:
    """Hand one message to intake; what became of it, and whether its key had brought it in before."""
    envelope = message.envelope()
    controls = message.controls(key, defaults)
    accepted = await hand_in(call, principal, trace, message.draft(), envelope, controls, digest)
    return await submitted(call, principal.tenant, accepted, envelope, message.client_id), accepted.replayed


def hand_in(
    call: Call,
    principal: Principal,
    trace: Trace,
    draft: Draft,
    envelope: Envelope,
    controls: Controls,
    digest: str | None = None,
) -> Awaitable[Accepted]:
    """To intake, in parts."""
    submission = Submission(
        source=Source.REST,
        principal=principal,
        envelope=envelope,
        content=Pieces(write(draft)),
        trace=trace,
        controls=controls,
        digest=digest,
    )
    return call.services.intake.accept(submission)
