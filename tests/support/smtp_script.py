"""The script of the SMTP server for tests: what it does at a step, and what it notes down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

Step = Literal["connect", "ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "rset", "quit"]
EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True, slots=True)
class Action:
    """What the server does at a step: wait for `when`, send `reply`, then `drop` or `reset` the connection.

    A `reply` of str is one or more lines; bytes go out as they are; None says nothing. At `body` the action happens when
    the first octets of the content have come.
    """

    reply: str | bytes | None = None
    drop: bool = False
    reset: bool = False
    when: asyncio.Event | None = None


OK = Action("250 2.0.0 ok")
DROP = Action(drop=True)
"""Close the connection without a word."""
Scripted = Action | str | bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A message whose final dot has come. `answer` is the code of the reply chosen for it, None for none."""

    sender: str
    recipients: tuple[str, ...]
    parameters: str
    """What followed the address in MAIL."""
    raw: bytes
    """The content as it came over the wire, dots stuffed, without the end; empty if the server keeps none."""
    content: bytes
    """The same unstuffed."""
    size: int
    sha256: str
    """Of the unstuffed content."""
    connection: int
    tls: bool
    user: str | None
    answer: int | None


@dataclass(slots=True, eq=False)
class Session:
    """One connection, from the server's side."""

    number: int
    commands: list[str] = field(default_factory=list)
    clear: bytearray = field(default_factory=bytearray)
    """Everything that came unprotected, content aside."""
    tls: bool = False
    user: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def to_action(scripted: Scripted) -> Action:
    """A reply alone is an action too."""
    return scripted if isinstance(scripted, Action) else Action(scripted)


def reply_code(reply: str | bytes | None) -> int | None:
    """The code that a scripted reply begins with, if it does."""
    text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply or ""
    return int(text[:3]) if text[:3].isdigit() else None
