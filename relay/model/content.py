"""Content: the parts of a message as a REST client names them; `relay.compose.mime` makes RFC 5322 bytes of them."""

from __future__ import annotations

from dataclasses import dataclass

from relay.model.address import Address
from relay.model.quick import quick


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name shown beside it (RFC 5322 §3.4); `name` is plain text, never an encoded word."""

    address: Address
    name: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """`content` is the file itself. With a `content_id` (no angle brackets) the HTML refers to it by `cid:`."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"
    """`type/subtype`, with parameters where it has some; ASCII."""
    content_id: str | None = None
    inline: bool = False


@quick
@dataclass(frozen=True, slots=True)
class Draft:
    """A message in parts. Blind copies are in no field here: they are recipients of the envelope alone."""

    author: Mailbox
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Further header fields, in their order; a name may come again."""
    attachments: tuple[Attachment, ...] = ()
