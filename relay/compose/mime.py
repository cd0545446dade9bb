"""A Draft becomes an RFC 5322 message with MIME (RFC 2045, 2046, 2387): pure, deterministic, 7-bit wherever mail allows it.

The same draft gives the same octets (boundaries are drawn from the content), so an idempotency key can be held against
them. Date, Message-ID and Received are intake's. Written without the email package, which costs 660 µs for a message
that takes 20 µs here, and see `relay.compose.header`.
"""

from __future__ import annotations

from binascii import b2a_base64, b2a_qp
from collections.abc import Iterator
from hashlib import blake2b

from relay.compose.header import HEADER_NAME, address_list, as_given, parameter, unstructured
from relay.model.content import Attachment, Draft

_LINE = 76
_PIECE = 57 * 1024
"""Octets of a file encoded at a time: whole lines of base64, 78 KiB on the wire."""
_NON_ASCII = bytes(range(128, 256))


def compose(draft: Draft) -> bytes:
    """The whole message, CRLF line ends; ValueError where a field cannot stand in a header."""
    return b"".join(write(draft))


def write(draft: Draft) -> Iterator[bytes]:
    """The message in pieces of bounded size, so that large attachments neither fill memory nor hold up the event loop."""
    header = _header(draft)
    if not draft.attachments and (draft.text is None or draft.html is None):
        only, body = _text("plain", draft.text) if draft.html is None else _text("html", draft.html)
        yield f"{header}{only}\r\n".encode() + body
        return
    root = _structure(draft, *_sort_attachments(draft))
    fields, pieces = root.write()
    lead = header.encode("utf-8") + fields + b"\r\n"
    for piece in pieces:
        if lead and len(lead) + len(piece) < _PIECE:
            lead += piece
            continue
        if lead:
            yield lead
            lead = b""
        yield piece
    if lead:
        yield lead


def _header(draft: Draft) -> str:
    header = address_list("From", (draft.author,))
    for name, mailboxes in (("To", draft.to), ("Cc", draft.cc), ("Reply-To", draft.reply_to)):
        if mailboxes:
            header += address_list(name, mailboxes)
    if draft.subject:
        header += unstructured("Subject", draft.subject)
    for name, value in draft.headers:
        if not HEADER_NAME.fullmatch(name):
            raise ValueError("header field names are 1 to 64 of A-Z, a-z, 0-9 and '-'")
        header += as_given(name, value)
    return header + "MIME-Version: 1.0\r\n"


def _text(subtype: str, text: str | None) -> tuple[str, bytes]:
    """A text part: as it is where it is short-lined ASCII, else quoted-printable or base64, whichever is shorter."""
    body = (text or "").encode("utf-8")
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    body = body.replace(b"\n", b"\r\n")
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    plain = body.isascii()
    if plain and max(map(len, body.splitlines())) <= _LINE:
        return f"Content-Type: text/{subtype}; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n", body
    charset = "us-ascii" if plain else "utf-8"
    if plain or (len(body) - len(body.translate(None, _NON_ASCII))) * 6 < len(body):
        encoding, encoded = "quoted-printable", b2a_qp(body, istext=True)
    else:
        encoding, encoded = "base64", _base64(body)
    return f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n", encoded


def _base64(octets: bytes) -> bytes:
    text = b2a_base64(octets, newline=False)
    return b"\r\n".join([text[i : i + _LINE] for i in range(0, len(text), _LINE)]) + b"\r\n"


class _Leaf:
    """A part with a body."""

    def __init__(self, fields: str, body: bytes, raw: bytes | None = None) -> None:
        self._fields = fields.encode("ascii")
        self._body = body
        self._raw = raw
        """Octets still to be encoded as base64."""

    def seed(self) -> bytes:
        """What a boundary around it must not occur in; base64 cannot hold one, so a large file is not read for it."""
        return self._fields + self._body

    def write(self) -> tuple[bytes, Iterator[bytes]]:
        """Its header fields, and its body in pieces."""
        return self._fields, self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        if self._raw is None:
            yield self._body
            return
        for start in range(0, len(self._raw), _PIECE):
            yield _base64(self._raw[start : start + _PIECE])


class _Multipart:
    """Parts in a boundary, which is drawn from what they hold and so occurs in none of them."""

    def __init__(self, kind: str, parts: list[_Leaf | _Multipart]) -> None:
        self._kind = kind
        self._parts = parts
        self._seed = blake2b(b"\0".join((kind.encode(), *(part.seed() for part in parts))), digest_size=15).digest()
        self._boundary = "=_" + self._seed.hex()

    def seed(self) -> bytes:
        """A digest of all it holds."""
        return self._seed

    def write(self) -> tuple[bytes, Iterator[bytes]]:
        """Its header fields, and its parts in pieces."""
        return f'Content-Type: multipart/{self._kind};\r\n boundary="{self._boundary}"\r\n'.encode(), self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        boundary = self._boundary.encode()
        before = b"--" + boundary + b"\r\n"
        for part in self._parts:
            fields, pieces = part.write()
            yield before + fields + b"\r\n"
            yield from pieces
            before = b"\r\n--" + boundary + b"\r\n"
        yield b"\r\n--" + boundary + b"--\r\n"


def _sort_attachments(draft: Draft) -> tuple[list[Attachment], list[Attachment]]:
    """Those the HTML refers to (a content id, and an HTML to show it), and the others."""
    if draft.html is None:
        return [], list(draft.attachments)
    inline = [one for one in draft.attachments if one.content_id is not None]
    return inline, [one for one in draft.attachments if one.content_id is None]


def _structure(draft: Draft, inline: list[Attachment], attached: list[Attachment]) -> _Multipart:
    """mixed( related( alternative(text, html), inline… ), attached… ), without the levels that would hold one part."""
    texts: list[_Leaf | _Multipart] = []
    if draft.text is not None or draft.html is None:
        texts.append(_Leaf(*_text("plain", draft.text)))
    if draft.html is not None:
        html: _Leaf | _Multipart = _Leaf(*_text("html", draft.html))
        if inline:
            html = _Multipart('related;\r\n type="text/html"', [html, *map(_attachment, inline)])
        texts.append(html)
    body = texts[0] if len(texts) == 1 else _Multipart("alternative", texts)
    if attached:
        body = _Multipart("mixed", [body, *map(_attachment, attached)])
    if isinstance(body, _Leaf):
        raise AssertionError("a draft of one part is written without a multipart")
    return body


def _attachment(attachment: Attachment) -> _Leaf:
    content_type, encoding, body = attachment.content_type, "base64", b""
    raw: bytes | None = attachment.content
    if content_type.lower().startswith(("message/", "multipart/")):  # RFC 2045 §6.4: never encoded
        if _is_seven_bit(attachment.content):
            encoding, body, raw = "7bit", attachment.content, None
        else:
            content_type = "application/octet-stream"
    disposition = "inline" if attachment.inline or attachment.content_id is not None else "attachment"
    lines = [
        f"Content-Type: {content_type}",
        f"Content-Transfer-Encoding: {encoding}",
        ";\r\n ".join([f"Content-Disposition: {disposition}", *parameter("filename", attachment.filename)]),
    ]
    if attachment.content_id is not None:
        lines.append(f"Content-ID: <{attachment.content_id}>")
    return _Leaf("\r\n".join(lines) + "\r\n", body, raw)


def _is_seven_bit(content: bytes) -> bool:
    """CRLF line ends, lines of at most 998 octets, ASCII without NUL (RFC 2045 §2.7)."""
    if not content.isascii() or b"\0" in content:
        return False
    pairs = content.count(b"\r\n")
    return pairs == content.count(b"\n") == content.count(b"\r") and max(map(len, content.split(b"\r\n"))) <= 998
