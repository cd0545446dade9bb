"""What intake checks, one small pure function each; every one raises Rejected or returns a value."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from relay.errors import Refusal, Rejected
from relay.intake.controls import read_control_headers
from relay.intake.header import HeaderSection
from relay.intake.submission import Principal
from relay.model.address import Address, domain_of
from relay.model.control import UNSAID, Controls
from relay.model.envelope import Envelope
from relay.model.message import Priority

MAX_HOPS = 50
"""Received header fields beyond which a message is taken to run in a loop (RFC 5321 §6.3 asks for at least 100 hops to
be allowed for; Postfix and chasquid cut at 50, and a message inside an organisation never comes near)."""

_FIELDS = tuple(Controls.__dataclass_fields__)


def check_sender(principal: Principal, sender: Address) -> None:
    """The envelope sender must be one the credential may use; the null reverse-path always may be."""
    if not principal.allowed_senders or not sender:
        return
    allowed = {entry.lower() for entry in principal.allowed_senders}
    if sender.lower() not in allowed and f"@{domain_of(sender)}" not in allowed:
        raise Rejected(Refusal.SENDER_NOT_ALLOWED)


def check_recipients(envelope: Envelope, most: int) -> None:
    """At least one, at most `most`."""
    if not envelope.recipients:
        raise Rejected(Refusal.BAD_RECIPIENT, "there is none")
    if len(envelope.recipients) > most:
        raise Rejected(Refusal.TOO_MANY_RECIPIENTS)


def check_hops(header: HeaderSection) -> None:
    """A message that has come by too often is cut."""
    if header.hops >= MAX_HOPS:
        raise Rejected(Refusal.LOOP)


def needs_smtputf8(envelope: Envelope, header: HeaderSection) -> bool:
    """Whether a message needs the next hop to know SMTPUTF8 (RFC 6531 §3.4), whatever its client asked for."""
    return not (header.fields.isascii() and all(one.isascii() for one in (envelope.sender, *envelope.recipients)))


def settle_controls(said: Controls, header: HeaderSection, principal: Principal, prefix: str, now: int) -> Controls:
    """The controls that hold: the message's own (each said once), else the credential's defaults."""
    if said is UNSAID and not header.controls:
        return _defaults(principal.account, principal.priority, principal.batch, principal.tags)
    if header.controls:
        said = _with_headers(said, header, prefix, now)
    if said.account and principal.account and said.account != principal.account:
        raise Rejected(
            Refusal.NO_ACCOUNT, f"{said.account} (this credential sends by {principal.account})", path="account"
        )
    if said.expires_at is not None and said.expires_at <= max(now, said.not_before or 0):
        raise Rejected(Refusal.BAD_CONTENT, "expires before it may be sent", path="expires_at")
    default = _defaults(principal.account, principal.priority, principal.batch, principal.tags)
    return Controls(
        priority=default.priority if said.priority is None else said.priority,
        batch=said.batch or default.batch,
        not_before=said.not_before,
        expires_at=said.expires_at,
        account=said.account or default.account,
        client_id=said.client_id,
        idempotency_key=said.idempotency_key,
        tags=said.tags or default.tags,
        metadata=said.metadata,
    )


@lru_cache(maxsize=1024)
def _defaults(account: str | None, priority: Priority | None, batch: str | None, tags: tuple[str, ...]) -> Controls:
    """What holds for mail of a credential that says nothing."""
    return Controls(Priority.MEDIUM if priority is None else priority, batch, account=account, tags=tags)


def _with_headers(said: Controls, header: HeaderSection, prefix: str, now: int) -> Controls:
    try:
        written = read_control_headers(header.controls, now)
    except ValueError as fault:
        name, detail = fault.args
        title = prefix + name.title()
        raise Rejected(Refusal.BAD_CONTENT, f"{title}: {detail}", path=title) from None
    for field in _FIELDS:
        if getattr(written, field) in {None, ()}:
            continue
        if getattr(said, field) not in {None, ()}:
            raise Rejected(Refusal.BAD_CONTENT, f"{field}: said twice, in the request and in the header", path=field)
        said = replace(said, **{field: getattr(written, field)})
    return said
