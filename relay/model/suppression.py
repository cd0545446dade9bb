"""Suppression: an address, or a whole domain, to which a tenant must not send, and why.

Addresses are held against each other in one normal form. The domain is in lower case with its A-labels as U-labels, so that
both spellings of an internationalised domain are one. The local-part is in lower case too: RFC 5321 §2.4 leaves its case to
the receiving host, but hardly any host tells `Ann` from `ann`, and to write to somebody who has objected, because the
address came in capitals, is the worse mistake. Nothing else is folded: not dots, not what follows a `+`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

from relay.model.address import Address, parse_address
from relay.model.event import Event, EventKind
from relay.model.message import QueueId
from relay.model.word import Word

_ACE = "xn--"


class SuppressionReason(Word):
    """Why."""

    HARD_BOUNCE = "hard_bounce"  # there is no such mailbox
    COMPLAINT = "complaint"  # the recipient called the tenant's mail spam
    UNSUBSCRIBE = "unsubscribe"  # the recipient wants no more of it
    MANUAL = "manual"  # somebody said so


@dataclass(frozen=True, slots=True)
class Suppression:
    """Times in µs since the epoch."""

    tenant: str
    address: str
    """In normal form; a whole domain is `@example.net`."""
    reason: SuppressionReason
    since: int
    until: int | None = None
    """When it ends; None: never."""
    note: str | None = None
    message: str | None = None
    """The id of the message that brought it about."""

    def says_the_same(self, other: Suppression) -> bool:
        """Whenever they were said; times count to the millisecond, as they are shown."""
        return self._said == other._said

    @property
    def _said(self) -> tuple[object, ...]:
        return self.reason, None if self.until is None else self.until // 1000, self.note, self.message


Found = Mapping[str, Suppression]
"""What stands against addresses, by the address as it was asked for."""


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """What is asked of a tenant's list; None asks nothing. `after` is the cursor: the last address of the page before."""

    tenant: str
    reason: SuppressionReason | None = None
    prefix: str = ""
    """With which the address begins."""
    after: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of many that were put on the list."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0

    def __add__(self, other: Imported) -> Imported:
        return Imported(self.added + other.added, self.changed + other.changed, self.unchanged + other.unchanged)


def read_suppressed(text: str) -> str:
    """The normal form of an address, or of a domain as `@example.net`; ValueError saying what is wrong with it."""
    if text.startswith("@"):
        return _domain_key(parse_address(f"x{text}", utf8=True))
    return keys_of(parse_address(text, utf8=True))[0]


@lru_cache(maxsize=4096)
def keys_of(address: str) -> tuple[str, str]:
    """Under what a suppression of an address may stand: itself, and its domain."""
    domain = _domain_key(address)
    return f"{_folded(address.rpartition('@')[0])}{domain}", domain


def _domain_key(address: str) -> str:
    domain = address.rpartition("@")[2]
    return "@" + ".".join(
        _u_label(label) if label[:4].lower() == _ACE else _folded(label) for label in domain.split(".")
    )


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else normalize("NFC", text).lower()


def _u_label(label: str) -> str:
    """An A-label (RFC 5890 §2.3.2.1) as people write it; one that is none stays as it is."""
    label = label.lower()
    try:
        decoded = label.removeprefix(_ACE).encode("ascii").decode("punycode")
    except UnicodeError:
        return label
    is_sound = decoded.isprintable() and not decoded.isascii() and _folded(decoded) == decoded
    return decoded if is_sound else label


def suppressed_event(tenant: str, message: QueueId, recipient: Address, why: Suppression, at: int) -> Event:
    """What is told of a recipient that stands on the list."""
    facts = {"reason": why.reason.value, "entry": why.address, "note": why.note}
    return Event(EventKind.SUPPRESSED, at, tenant, message, recipient, facts)


def against(addresses: Sequence[str], listed: Mapping[str, Suppression]) -> dict[str, Suppression]:
    """What stands against each, of what is listed by key: a word on the address itself goes before one on its domain."""
    found: dict[str, Suppression] = {}
    for address in addresses:
        for key in reversed(keys_of(address)):
            if key in listed:
                found[address] = listed[key]
    return found
