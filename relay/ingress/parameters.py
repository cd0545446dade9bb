"""Reading the arguments of MAIL and RCPT (RFC 5321 §4.1.1.2–3) with the parameters this door knows.

More is read than the grammar has, where legacy clients need it and nothing is risked: a blank after the colon, a path
without its angle brackets. The address itself goes through the one strict parser, and what passed is what the next hop gets.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from relay.errors import Refusal, Rejected
from relay.ingress.faults import ProtocolError
from relay.model.address import NULL_SENDER, Address, parse_address

_FROM = "FROM:<"
_TO = "TO:<"
_PATH = re.compile(r"(FROM|TO): *(?:<([^<>]*)>|([^<> ]+))(?: +(.*))?", re.IGNORECASE)
_SIZE = re.compile(r"[0-9]{1,20}")


class MailCommand(NamedTuple):
    """`size` as declared, in octets; None where it was not."""

    sender: Address
    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False


def parse_mail(argument: str, *, extended: bool) -> MailCommand:
    """MAIL's argument. ProtocolError 501, Rejected (BAD_SENDER, UNKNOWN_PARAMETER)."""
    path, tail = _split(_FROM, argument)
    if not tail:
        return MailCommand(_sender(path, utf8=False))
    values = _parameters(tail, extended=extended)
    utf8 = _flag(values, "SMTPUTF8")
    size = values.pop("SIZE", None)
    if size is not None and not _SIZE.fullmatch(size):
        raise ProtocolError(501, "5.5.4", "SIZE takes a number of octets")
    body = values.pop("BODY", "7BIT").upper()
    if body not in {"7BIT", "8BITMIME"}:
        raise Rejected(Refusal.UNKNOWN_PARAMETER, "BODY other than 7BIT or 8BITMIME")
    # RFC 4954 §5: a server that is not told to trust it takes it as AUTH=<>.
    values.pop("AUTH", None)
    _nothing_left(values)
    sender = _sender(path, utf8=utf8)
    return MailCommand(sender, None if size is None else int(size), eight_bit=body == "8BITMIME", smtputf8=utf8)


def parse_rcpt(argument: str, *, extended: bool, utf8: bool) -> Address:
    """RCPT's argument, which takes no parameter here. ProtocolError 501, Rejected (BAD_RECIPIENT, UNKNOWN_PARAMETER)."""
    path, tail = _split(_TO, argument)
    if tail:
        _nothing_left(_parameters(tail, extended=extended))
    try:
        return parse_address(path, utf8=utf8)
    except ValueError as fault:
        raise Rejected(Refusal.BAD_RECIPIENT, str(fault)) from None


def _split(opening: str, argument: str) -> tuple[str, str]:
    """The path without its brackets, and the parameters."""
    path = argument[len(opening) : -1]
    if argument == f"{opening}{path}>" and "<" not in path and ">" not in path:
        return path, ""  # as most clients write it
    match = _PATH.fullmatch(argument)
    if match is None or match[1].upper() != opening[:-2]:
        verb = "MAIL" if opening == _FROM else "RCPT"
        raise ProtocolError(501, "5.5.4", f"syntax: {verb} {opening}address>")
    return match[2] if match[2] is not None else match[3], match[4] or ""


def _sender(path: str, *, utf8: bool) -> Address:
    if not path:
        return NULL_SENDER
    try:
        return parse_address(path, utf8=utf8)
    except ValueError as fault:
        raise Rejected(Refusal.BAD_SENDER, str(fault)) from None


def _parameters(tail: str, *, extended: bool) -> dict[str, str]:
    """Keyword in upper case → value; a keyword alone has the value "". Without EHLO there are none (RFC 5321 §3.2)."""
    values: dict[str, str] = {}
    for word in tail.split():
        keyword, _, value = word.partition("=")
        keyword = keyword.upper()
        if keyword in values:
            raise ProtocolError(501, "5.5.4", "a parameter is given twice")
        values[keyword] = value
    if not extended:
        _nothing_left(values)
    return values


def _flag(values: dict[str, str], keyword: str) -> bool:
    value = values.pop(keyword, None)
    if value:
        raise ProtocolError(501, "5.5.4", f"{keyword} takes no value")
    return value is not None


def _nothing_left(values: dict[str, str]) -> None:
    for keyword in values:
        raise Rejected(Refusal.UNKNOWN_PARAMETER, keyword[:40])
