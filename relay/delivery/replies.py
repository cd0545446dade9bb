"""Replies: cut out of what a server sends (RFC 5321 §4.2), strictly and within bounds.

A line that is no reply leaves no way to tell what the next one answers, so it ends the dialogue.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from relay.model.reply import Reply, read_reply

MAX_REPLY = 32 * 1024
"""Octets of one reply with all its lines; a real one has a few hundred."""

_LINE = re.compile(rb"([0-9]{3})(?:([ -])([^\r\n]*))?\r?\n")
_USUAL = re.compile(rb"(?:[0-9]{3}(?: [^\r\n]*)?\r?\n)+")
_SHORT = 256
_TOO_MUCH = "the server said more than it was asked"


class DialogueError(Exception):
    """The dialogue cannot go on; the connection is of no use any more."""


class BadReply(DialogueError):
    """What the server said is outside the protocol, or was not asked for."""


class Unasked(BadReply):
    """A reply that nobody had asked for, alone and whole."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(_TOO_MUCH)
        self.reply = reply


class Closing(DialogueError):
    """421: the server closes the channel (RFC 5321 §3.8), whatever it was answering to, or unasked."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Said(NamedTuple):
    """What came: replies, how people are shown them, and what is wrong with what came behind them."""

    replies: tuple[Reply, ...]
    texts: tuple[str, ...]
    error: DialogueError | None = None


_NOTHING = Said((), ())


class ReplyReader:
    """Keeps what is not a whole reply yet; `owed` is how many replies may come."""

    __slots__ = ("_code", "_partial", "_size", "_texts", "owed")

    def __init__(self) -> None:
        self.owed = 0
        self._partial = b""
        self._code = b""
        self._texts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Said:
        """The replies that are whole now, at most as many as are owed; after an error it is not to be fed any more."""
        if len(data) < _SHORT and not self._partial and not self._texts:
            count, usual = _read_usual(data)
            if 0 < count <= self.owed:
                self.owed -= count
                return usual
        replies: list[Reply] = []
        error: DialogueError | None = None
        try:
            self._cut(data, replies)
        except DialogueError as bad:
            error = bad
        return Said(tuple(replies), tuple(map(str, replies)), error)

    def _cut(self, data: bytes, replies: list[Reply]) -> None:
        """Append what is owed; an error leaves those before it."""
        data = self._partial + data
        begin = 0
        while self.owed and (end := data.find(b"\n", begin) + 1):
            reply = self._read_line(data[begin:end])
            begin = end
            if reply is not None:
                replies.append(reply)
                self.owed -= 1
        rest = data[begin:]
        if rest and not self.owed:
            raise unasked(rest)
        if self._size + len(rest) > MAX_REPLY:
            raise BadReply("reply too long")
        self._partial = rest

    def _read_line(self, line: bytes) -> Reply | None:
        """The reply that this line ends, if it ends one."""
        if len(line) < _SHORT and not self._texts:
            count, usual = _read_usual(line)
            if count:
                return usual.replies[0]
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadReply(f"not a reply: {line[:-1][:80].decode('ascii', 'backslashreplace')}")
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
        return _read(code, whole)


def unasked(data: bytes) -> Unasked | Closing | BadReply:
    """What it is that came although nothing was owed."""
    count, said = _read_usual(data) if len(data) < _SHORT else (0, _NOTHING)
    if count != 1:
        return BadReply(_TOO_MUCH)
    [reply] = said.replies
    return Closing(reply) if reply.code == 421 else Unasked(reply)


@lru_cache(maxsize=256)
def _read_usual(data: bytes) -> tuple[int, Said]:
    """Replies of one line each and nothing else, with their number; 0: it is not that. Most servers say little else, and the
    same to most mails."""
    if not _USUAL.fullmatch(data):
        return 0, _NOTHING
    replies = tuple([_read(code, text) for code, _, text in _LINE.findall(data)])
    return len(replies), Said(replies, tuple(map(str, replies)))


def _read(code: bytes, text: bytes) -> Reply:
    return read_reply(int(code), text.decode("utf-8", "replace"))
