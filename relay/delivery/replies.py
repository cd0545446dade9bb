"""Replies: cut out of what a server sends (RFC 5321 §4.2), strictly and within bounds.

A line that is no reply leaves no way to tell what the next one answers, so it ends the dialogue.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache

from relay.model.reply import Reply, read_reply

MAX_REPLY = 32 * 1024
"""Octets of one reply with all its lines; a real one has a few hundred."""

_LINE = re.compile(rb"([0-9]{3})(?:([ -])([^\r\n]*))?\r?")
_SHORT = 128


class DialogueError(Exception):
    """The dialogue cannot go on; the connection is of no use any more."""


class BadReply(DialogueError):
    """What the server said is outside the protocol, or was not asked for."""


class ReplyReader:
    """Keeps what is not a whole reply yet."""

    __slots__ = ("_code", "_partial", "_size", "_texts")

    def __init__(self) -> None:
        self._partial = b""
        self._code = b""
        self._texts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes, owed: int, replies: deque[Reply]) -> bool:
        """Append at most `owed` replies; True where more has come than those. BadReply leaves those before it."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        begin = 0
        while owed and (end := data.find(b"\n", begin)) >= 0:
            reply = self._read_line(data[begin:end])
            begin = end + 1
            if reply is not None:
                replies.append(reply)
                owed -= 1
        if begin == len(data):
            return False
        if not owed:
            return True
        self._partial = data[begin:]
        if self._size + len(self._partial) > MAX_REPLY:
            raise BadReply("reply too long")
        return False

    def _read_line(self, line: bytes) -> Reply | None:
        """The reply that this line ends, if it ends one."""
        if not self._texts and len(line) < _SHORT and (reply := _read_short(line)) is not None:
            return reply
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadReply(f"not a reply: {line[:80].decode('ascii', 'backslashreplace')}")
        code, more, text = match.groups(b"")
        self._size += len(line)
        if self._size > MAX_REPLY:
            raise BadReply("reply too long")
        if self._texts and code != self._code:
            raise BadReply("the lines of a reply differ in their code")
        self._code = code
        self._texts.append(text)
        if more == b"-":
            return None
        whole = b"\n".join(self._texts)
        self._texts.clear()
        self._size = 0
        return read_reply(int(code), whole.decode("utf-8", "replace"))


@lru_cache(maxsize=512)
def _read_short(line: bytes) -> Reply | None:
    """A reply of one short line: most are, and most servers always say the same."""
    match = _LINE.fullmatch(line)
    if match is None or match[2] == b"-":
        return None
    return read_reply(int(match[1]), (match[3] or b"").decode("utf-8", "replace"))
