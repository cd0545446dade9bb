"""Address: a mailbox as RFC 5321 §4.1.2 writes it, read by one strict reader at every door.

The very text that passed goes to the wire, so what policy saw and what the next hop sees cannot differ. Quoted
local-parts, source routes, control characters and blanks are refused; so is everything over 254 octets (RFC 5321
§4.5.3.1.3). Non-ASCII needs SMTPUTF8 (RFC 6531).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

Address = NewType("Address", str)

NULL_SENDER = Address("")
"""The null reverse-path `<>` of notifications (RFC 5321 §4.5.5)."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a1-\U0010ffff]"
_LABEL = r"[A-Za-z0-9\u00a1-\U0010ffff](?:[A-Za-z0-9\-\u00a1-\U0010ffff]{0,61}[A-Za-z0-9\u00a1-\U0010ffff])?"
_LOCAL = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45})\]")
# Unicode's own blanks, controls, surrogates and noncharacters are no part of a name.
_UNPRINTABLE = re.compile(
    r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff0-\uffff\ud800-\udfff]"
)

MAX_ADDRESS = 254
MAX_LOCAL_PART = 64


@lru_cache(maxsize=8192)
def parse_address(text: str, *, utf8: bool = False) -> Address:
    """A mailbox, unchanged, or ValueError saying what is wrong with it. `utf8` admits non-ASCII."""
    local, at, domain = text.rpartition("@")
    if not at:
        raise ValueError("address has no @")
    if not text.isascii():
        if not utf8:
            raise ValueError("address is not ASCII (SMTPUTF8 was not asked for)")
        if _UNPRINTABLE.search(text):
            raise ValueError("address holds a character that cannot be printed")
    if len(text.encode("utf-8", "replace")) > MAX_ADDRESS or len(local.encode("utf-8", "replace")) > MAX_LOCAL_PART:
        raise ValueError(f"address is too long (at most {MAX_ADDRESS} octets, {MAX_LOCAL_PART} before the @)")
    if not _LOCAL.fullmatch(local):
        raise ValueError("local-part is not a dot-atom")
    if not (_DOMAIN.fullmatch(domain) or _LITERAL.fullmatch(domain)):
        raise ValueError("domain is not valid")
    return Address(text)


def domain_of(address: str) -> str:
    """The domain in lower case; empty for the null reverse-path."""
    return address.rpartition("@")[2].lower()
