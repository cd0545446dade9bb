"""Envelope: the reverse-path and the recipients (RFC 5321 §2.3.1), apart from the header fields."""

from __future__ import annotations

from dataclasses import dataclass

from relay.model.address import Address
from relay.model.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Envelope:
    """`sender` is empty for the null reverse-path; recipients keep their order and are without repetition."""

    sender: Address
    recipients: tuple[Address, ...]
    eight_bit: bool = False
    """The client declared BODY=8BITMIME (RFC 6152)."""
    smtputf8: bool = False
    """The client asked for SMTPUTF8 (RFC 6531)."""
