"""Dot-stuffing (RFC 5321 §4.5.2) of content that comes in pieces."""

from __future__ import annotations


class DotStuffer:
    """Doubles the dot that begins a line, whatever way the content is cut into pieces. Lines end in CRLF."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the content begins a line

    def stuff(self, piece: bytes) -> bytes:
        """The next piece as it goes to the wire."""
        if not piece:
            return piece
        tail = self._tail
        self._tail = piece[-2:] if len(piece) > 1 else tail[-1:] + piece
        stuffed = piece.replace(b"\r\n.", b"\r\n..")
        if tail == b"\r\n" and piece[0] == 0x2E:
            return b"." + stuffed
        if tail[-1:] == b"\r" and piece[:2] == b"\n.":
            return b"\n." + stuffed[1:]
        return stuffed

    def end(self) -> bytes:
        """The end of data: the lone dot, at the beginning of a line."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


def stuff_whole(content: bytes) -> bytes:
    """A whole content, stuffed, with the end of data: one write."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if content[:1] == b".":
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if content[-2:] == b"\r\n" or not content else b"\r\n.\r\n")
