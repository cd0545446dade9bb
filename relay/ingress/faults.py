"""Faults of the client, apart from refusals of its mail (relay.errors.Refusal), and how a reply becomes octets.

They have types of their own so that a TimeoutError or ConnectionError out of intake is never taken for the client's.
"""

from __future__ import annotations

import re

from relay.model.reply import Reply

_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_MAX_REPLY = 480


class ClientGone(Exception):
    """The client closed, or reset, the connection."""


class ClientTooSlow(Exception):
    """The client sent nothing, or too little, for too long."""


class ProtocolError(Exception):
    """A command that cannot be carried out as it stands: syntax or sequence. Counts towards the error limit."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, text)


class Farewell(Exception):
    """The reply is our last: nothing more of what this client says is listened to."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def encode_reply(reply: Reply) -> bytes:
    """One reply line (RFC 5321 §4.2) within its 512 octets, ASCII alone (RFC 6531 §3.5 would need the client's consent)."""
    return _NOT_PRINTABLE.sub("?", str(reply))[:_MAX_REPLY].encode("ascii") + b"\r\n"


def no_argument(verb: str, argument: str) -> None:
    """ProtocolError where a command was given an argument and takes none."""
    if argument:
        raise ProtocolError(501, "5.5.4", f"{verb} takes no argument")
