"""Handing in a finished message (message/rfc822), streamed: no more than its header section is ever held.

The envelope comes by `?from=&to=&to=`; without it, from the header fields as `sendmail -t` reads them (Sender or From; To,
Cc and Bcc), and then Bcc is taken out, since it would be seen by all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from relay.compose.mailbox import parse_mailboxes
from relay.errors import Invalid, NotFound, Refusal, Rejected, Violation
from relay.intake.header import read_header, split_fields
from relay.intake.submission import Submission
from relay.model.address import Address
from relay.model.content import Mailbox
from relay.model.control import Controls
from relay.model.envelope import Envelope
from relay.model.message import QueueId, Source
from sidecar_api.bodies import unsupported
from sidecar_api.call import Call
from sidecar_api.coding import Pieces
from sidecar_api.resources.submissions import (
    accepted_answer,
    idempotency_key,
    principal_of,
    submitted,
    trace_of,
)
from sidecar_api.schemas.queries import RawQuery


class Content:
    """The body with CRLF line ends whatever came, a piece at a time; what was read of it ahead comes first."""

    def __init__(self, body: Pieces) -> None:
        self._body = body
        self._ahead: list[bytes] = []
        self._held_cr = False
        self._last = b"\n"
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._ahead:
            return self._ahead.pop()
        while not self._ended:
            if piece := self._normalised(await self._body.readany()):
                return piece
        raise StopAsyncIteration

    def put_back(self, piece: bytes) -> None:
        """To be read again, before all else."""
        if piece:
            self._ahead.append(piece)

    def _normalised(self, piece: bytes) -> bytes:
        """A CR at a piece's end waits for what follows it."""
        if not piece:
            self._ended = True
            return b"\r\n" if self._held_cr or self._last != b"\n" else b""
        if self._held_cr:
            piece = b"\r" + piece
        self._held_cr = piece.endswith(b"\r")
        if self._held_cr:
            piece = piece[:-1]
        if not piece.count(b"\n") == piece.count(b"\r\n") == piece.count(b"\r"):
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        self._last = piece[-1:] or self._last
        return piece


async def submit_raw(call: Call) -> web.Response:
    """POST /v1/messages/raw."""
    request, services = call.request, call.services
    if request.content_type != "message/rfc822":
        raise unsupported("message/rfc822")
    query = call.asked(RawQuery)
    key = idempotency_key(call)
    principal = await principal_of(call, query.tenant)
    services.intake.check_admission()
    if (request.content_length or 0) > services.intake.max_size:
        raise Rejected(Refusal.TOO_BIG, str(services.intake.max_size))
    content = Content(call.content)
    fields, rest = await read_header(content)
    envelope, fields = _envelope(query, fields)
    content.put_back(rest)
    content.put_back(fields + b"\r\n")
    submission = Submission(Source.REST, principal, envelope, content, trace_of(call), _controls(query, key))
    try:
        accepted = await services.intake.accept(submission)
    except Rejected as fault:
        raise Rejected(
            fault.refusal, fault.detail, path=_place(query, fields, fault.path, services.header_prefix)
        ) from None
    client_id = query.client_id
    if client_id is None and f"{services.header_prefix}client-id:".lower().encode() in fields.lower():
        client_id = await _client_id(call, principal.tenant, accepted.id)
    out = await submitted(call, principal.tenant, accepted, envelope, client_id)
    return accepted_answer(out, replayed=accepted.replayed)


async def _client_id(call: Call, tenant: str, message: QueueId) -> str | None:
    """As intake read it in the header section."""
    try:
        return (await call.services.archive.message(tenant, message)).message.client_id
    except NotFound:  # a key has outlived its message
        return None


def _place(query: RawQuery, fields: bytes, path: str, prefix: str) -> str:
    """Where a control that is at fault was said: in the header section, else in the query, where it belongs."""
    if path not in RawQuery.model_fields:
        return path
    name = f"{prefix}{path.replace('_', '-').title()}"
    in_header = path not in query.model_fields_set and f"{name}:".lower().encode() in fields.lower()
    return name if in_header else f"?{path}"


def _controls(query: RawQuery, key: str | None) -> Controls:
    return Controls(
        priority=query.priority,
        batch=query.batch,
        not_before=query.send_at,
        expires_at=query.expires_at,
        account=query.account,
        client_id=query.client_id,
        idempotency_key=key,
        tags=tuple(query.tags or ()),
        metadata=query.metadata,
    )


def _envelope(query: RawQuery, fields: bytes) -> tuple[Envelope, bytes]:
    """The envelope, and the header section: without Bcc where that was read for recipients."""
    sender, recipients = query.sender, tuple(query.to)
    if sender is None:
        authors = _mailboxes(fields, b"sender") or _mailboxes(fields, b"from")
        if not authors:
            raise Invalid(Violation("?from", "is required, since the message has neither Sender nor From"))
        sender = authors[0].address
    if not recipients:
        found = [one for name in (b"to", b"cc", b"bcc") for one in _mailboxes(fields, name)]
        recipients = tuple(mailbox.address for mailbox in found)
        fields = b"".join(field for field in split_fields(fields) if _name(field) != b"bcc")
        if not recipients:
            raise Invalid(Violation("?to", "is required, since the message has no recipient in To, Cc or Bcc"))
    unique = tuple(dict.fromkeys(recipients))
    return Envelope(sender, unique, smtputf8=not _all_ascii(sender, *unique)), fields


def _mailboxes(fields: bytes, name: bytes) -> tuple[Mailbox, ...]:
    found: tuple[Mailbox, ...] = ()
    for field in split_fields(fields):
        if _name(field) != name:
            continue
        title, _, octets = field.partition(b":")
        try:
            text = octets.decode("utf-8").strip()
            if text and not text.rstrip(" ;").endswith(":"):  # an empty group, such as undisclosed-recipients:;
                found += parse_mailboxes(text)
        except ValueError as fault:
            raise Invalid(Violation(title.decode("ascii", "replace").strip(), str(fault))) from None
    return found


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip().lower()


def _all_ascii(*addresses: Address) -> bool:
    return all(address.isascii() for address in addresses)
