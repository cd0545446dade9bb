"""Handing in many messages at once: each is accepted or refused by itself, and what was refused is written down, so that
whoever reads what became of a client's messages finds it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from aiohttp import web

from relay.contracts.archive import MessageFilter
from relay.errors import NotFound, Rejected, StoreUnavailable
from relay.errors import Refusal as WhyNot
from relay.intake.controls import read_batch
from relay.intake.refused import Refused
from relay.intake.submission import Principal, Trace
from relay.model.address import NULL_SENDER
from relay.model.message import CLOSED_STATES, Priority, Source
from relay.model.tenant import IDENTIFIER
from sidecar_api.auth import existing_tenant
from sidecar_api.bodies import read_json
from sidecar_api.call import Call, answer
from sidecar_api.genro.faults import GenroFaultOut, GenroRefusedOut, GenroRejectedOut
from sidecar_api.genro.schemas.commands import GenroQueuedOut
from sidecar_api.genro.schemas.messages import (
    Given,
    LooseMessagesIn,
    Refusal,
    check_mandatory,
    read_message,
    with_message_id,
)
from sidecar_api.genro.whose import NOT_YOURS
from sidecar_api.resources.submissions import hand_in, trace_of
from sidecar_api.schemas.batch_requests import MAX_BATCH
from sidecar_api.schemas.messages import NO_DEFAULTS

ALREADY_SENT = "already sent"
ALREADY_TRIED = "already tried"
NO_ACCOUNT = "account not found for tenant"
_TOGETHER = 32
"""Messages begun before the event loop gets a turn for others."""

log = logging.getLogger(__name__)


async def add_messages(call: Call) -> web.Response:
    """POST /commands/add-messages: 400 where none was accepted and something was wrong with one."""
    given = read_json(call.octets, LooseMessagesIn, call.reading())
    if len(given.messages) > MAX_BATCH:
        return _refused(f"no more than {MAX_BATCH} messages can be handed in at once", [])
    call.services.intake.check_admission()
    reasons = await _accept_all(call, [Given.of(item) for item in given.messages], given.default_priority)
    rejected = [GenroRejectedOut(id=one, reason=reason) for one, reason in reasons if reason is not None]
    queued = len(reasons) - len(rejected)
    if not queued and any(one["reason"] not in {ALREADY_SENT, ALREADY_TRIED} for one in rejected):
        return _refused("no message was accepted", rejected)
    return answer(200, GenroQueuedOut(ok=True, queued=queued, rejected=rejected))


def _refused(error: str, rejected: list[GenroRejectedOut]) -> web.Response:
    return answer(400, GenroFaultOut(detail=GenroRefusedOut(error=error, rejected=rejected)))


async def _accept_all(
    call: Call, messages: list[Given], default: Priority | None
) -> list[tuple[str | None, str | None]]:
    """Ids, and why each was not accepted. Those of one id go one after the other, as they stand."""
    trace = trace_of(call)
    reasons: list[str | None] = [None] * len(messages)

    async def accept(places: list[int]) -> None:
        for place in places:
            try:
                await _accept(call, trace, messages[place], default)
            except Refusal as refusal:
                reasons[place] = refusal.reason

    tasks: list[asyncio.Task[None]] = []
    for number, places in enumerate(_by_id(messages)):
        tasks.append(asyncio.create_task(accept(places)))
        if number % _TOGETHER == _TOGETHER - 1:
            await asyncio.sleep(0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return [(one.text("id"), reason) for one, reason in zip(messages, reasons, strict=True)]


def _by_id(messages: list[Given]) -> Iterator[list[int]]:
    """The places of those that may be one message, in their order."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(messages):
        if one.id is None:
            yield [place]
        else:
            places.setdefault(one.id, []).append(place)
    yield from places.values()


async def _accept(call: Call, trace: Trace, given: Given, default: Priority | None) -> None:
    """Hand it to intake; Refusal where it is not accepted, of which its client finds a trace."""
    if not given.is_object:
        raise Refusal("invalid payload")
    if given.text("id") is None:
        raise Refusal("missing id")
    principal = Principal(await _tenant(call, given), call.caller.name)
    try:
        await _accept_for(call, principal, trace, given, default)
    except Refusal as refusal:
        if refusal.reason not in {ALREADY_SENT, ALREADY_TRIED}:
            await _keep_refused(call, principal, given, refusal.kept)
        raise


async def _tenant(call: Call, given: Given) -> str:
    named = given.text("tenant_id")
    if call.caller.tenant is not None:
        if named not in {None, call.caller.tenant}:
            raise Refusal(NOT_YOURS)
        return call.caller.tenant
    if named is None:
        raise Refusal("missing tenant_id")
    try:
        return await existing_tenant(named, call.services.directory)
    except NotFound:
        raise Refusal(NO_ACCOUNT) from None


async def _accept_for(call: Call, principal: Principal, trace: Trace, given: Given, default: Priority | None) -> None:
    directory, named = call.services.directory, given.text("account_id")
    if named is None and await directory.account(principal.tenant, None) is None:
        raise Refusal("missing account_id")
    check_mandatory(given)
    if named is not None and (
        not IDENTIFIER.fullmatch(named) or await directory.account(principal.tenant, named) is None
    ):
        raise Refusal(NO_ACCOUNT)
    message, message_id = read_message(given, default, call.reading())
    try:
        draft = with_message_id(message.draft(), message_id)
        await hand_in(call, principal, trace, draft, message.envelope(), message.controls(None, NO_DEFAULTS))
    except Rejected as refused:
        raise await _why(call, principal.tenant, given, refused) from None


async def _why(call: Call, tenant: str, given: Given, refused: Rejected) -> Exception:
    """The reason for the client; what is no fault of the message ends the whole request."""
    if refused.refusal.http_status >= 500:
        return refused
    if refused.refusal is WhyNot.NO_ACCOUNT:
        return Refusal(NO_ACCOUNT)
    if refused.refusal is not WhyNot.DUPLICATE_CLIENT_ID:
        return Refusal(refused.refusal.reply(refused.detail).text)
    wanted = MessageFilter(tenant=tenant, client_id=given.id, limit=1)
    found = await call.services.archive.list_messages(wanted)
    is_closed = not found or found[0].message.state in CLOSED_STATES
    return Refusal(ALREADY_SENT if is_closed else ALREADY_TRIED)


async def _keep_refused(call: Call, principal: Principal, given: Given, reason: str) -> None:
    """Write it down. A store that does not answer now must not undo what is said of the other messages."""
    if given.id is None:
        return
    account, batch = given.text("account_id"), given.text("batch_code")
    try:
        batch = None if batch is None else read_batch(batch)
    except ValueError:
        batch = None
    refused = Refused(
        principal=principal,
        source=Source.REST,
        client_id=given.id,
        reason=reason,
        sender=given.author or NULL_SENDER,
        recipients=given.recipients[: call.services.intake.max_recipients],
        account=account if account is not None and IDENTIFIER.fullmatch(account) else None,
        batch=batch,
    )
    try:
        await call.services.intake.keep_refused(refused)
    except StoreUnavailable as error:
        log.warning("request %s: a refused message is not written down: %s", call.request_id, error)
