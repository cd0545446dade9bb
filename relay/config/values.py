"""Values: how the text of a setting becomes a typed value, one reader for each kind.

A reader raises ValueError with what is wrong; its Kind says what is allowed, for the error and for the example alike.
Sizes are octets, durations µs (the unit of `relay.clock`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args

from relay.clock import read_duration, show_duration

T = TypeVar("T")

_SIZE = re.compile(r"(\d{1,15})\s*([a-z]*)", re.ASCII)
_SIZE_UNITS = {"gib": 2**30, "mib": 2**20, "kib": 2**10, "gb": 10**9, "mb": 10**6, "kb": 10**3, "b": 1, "": 1}
_SIZE_NAMES = {2**30: "GiB", 2**20: "MiB", 2**10: "KiB"}
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*", re.ASCII
)
_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII)
_COMMA_OR_LINE_END = re.compile(r"\s*(?:,|\n)\s*")
_URL_PASSWORD = re.compile(r"(?<=://)([^/@:]*):.*(?=@)|(?<=[?&]password=)[^&]*")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value: its reader, and what it takes, in words that complete "must be"."""

    read: Callable[[str], T]
    allowed: str
    quotable: bool = True
    """Whether an error may quote the value: not where it may hold a secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """host:port, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class StoreUrl(str):
    """The URL of a store; its `repr` hides the password."""

    __slots__ = ()

    @property
    def masked(self) -> str:
        """Fit to be shown."""
        return _URL_PASSWORD.sub(lambda match: f"{match[1]}:***" if match[1] is not None else "***", self)

    def __repr__(self) -> str:
        """Masked."""
        return repr(self.masked)


def show_size(value: int) -> str:
    """In the largest binary unit that divides it."""
    return next(
        (f"{value // unit}{name}" for unit, name in _SIZE_NAMES.items() if value and value % unit == 0), f"{value}B"
    )


def _within(value: int, low: int, high: int) -> int:
    if value < low:
        raise ValueError("is too small")
    if value > high:
        raise ValueError("is too large")
    return value


def duration(low: int, high: int) -> Kind[int]:
    """A number and a unit, as µs."""
    return Kind(
        lambda text: _within(read_duration(text), low, high),
        f"a duration such as 300s, 5m, 1h or 2d, from {show_duration(low)} to {show_duration(high)}",
    )


def durations(low: int, high: int) -> Kind[tuple[int, ...]]:
    """One or more durations by comma, as µs."""
    one = duration(low, high)
    return Kind(
        lambda text: tuple(one.read(part) for part in parts(text, at_least_one=True)),
        f"durations by comma such as 1m, 5m, 2h, each from {show_duration(low)} to {show_duration(high)}",
    )


def size(low: int, high: int) -> Kind[int]:
    """A number of octets, or with a unit."""

    def read(text: str) -> int:
        match = _SIZE.fullmatch(text.strip().lower())
        if not match or match[2] not in _SIZE_UNITS:
            raise ValueError("is not a size")
        return _within(int(match[1]) * _SIZE_UNITS[match[2]], low, high)

    return Kind(read, f"octets, or a size such as 64KiB, 10MB or 25MiB, from {show_size(low)} to {show_size(high)}")


def number(low: int, high: int) -> Kind[int]:
    """A whole number."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
            raise ValueError("is not a whole number")
        return _within(int(text), low, high)

    return Kind(read, f"a whole number from {low} to {high}")


def percent(high: int) -> Kind[float]:
    """A percentage, as a fraction of one."""

    def read(text: str) -> float:
        if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?\s*%", text.strip(), re.ASCII):
            raise ValueError("is not a percentage")
        fraction = float(text.strip()[:-1]) / 100
        if fraction * 100 > high:
            raise ValueError("is too large")
        return fraction

    return Kind(read, f"a percentage such as 10%, from 0% to {high}%")


def optional(kind: Kind[T]) -> Kind[T | None]:
    """Nothing, or a value of that kind."""
    return Kind(lambda text: kind.read(text) if text.strip() else None, f"empty, or {kind.allowed}", kind.quotable)


def choice(literal: object) -> Kind[Any]:
    """One of the words of a Literal type."""
    words: tuple[str, ...] = get_args(literal)

    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError("is not one of the words allowed")
        return word

    return Kind(read, "one of " + ", ".join(words))


def pattern(regex: str, allowed: str) -> Kind[str]:
    """Text of a given form."""
    compiled = re.compile(regex, re.ASCII)

    def read(text: str) -> str:
        if not compiled.fullmatch(text.strip()):
            raise ValueError("has not the form allowed")
        return text.strip()

    return Kind(read, allowed)


def parts(text: str, *, at_least_one: bool = False) -> list[str]:
    """The items of a list, parted by commas or line ends."""
    items = _COMMA_OR_LINE_END.split(text.strip()) if text.strip() else []
    if at_least_one and not items:
        raise ValueError("is empty")
    if not all(items):
        raise ValueError("holds an empty item")
    return items


def _read_flag(text: str) -> bool:
    try:
        return {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }[text.strip().lower()]
    except KeyError:
        raise ValueError("is neither true nor false") from None


def _read_endpoint(text: str) -> Endpoint:
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):(\d{1,5})", text, re.ASCII)
    if not match:
        raise ValueError(f"{text!r} has no port, or an IPv6 address without brackets")
    if match[1]:
        ip_address(match[1])
    elif not _HOSTNAME.fullmatch(match[2]):
        raise ValueError(f"{match[2]!r} is not a host")
    return Endpoint(match[1] or match[2], _within(int(match[3]), 0, 65535))


def _read_endpoints(text: str) -> tuple[Endpoint, ...]:
    endpoints = tuple(_read_endpoint(part) for part in parts(text))
    if len(set(endpoints)) < len(endpoints):
        raise ValueError("names an address twice")
    return endpoints


def _read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part) for part in parts(text))


def _read_origins(text: str) -> tuple[str, ...]:
    origins = parts(text)
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is not an origin")
    return tuple(origins)


def _read_path(text: str) -> Path | None:
    if "\0" in text or "\n" in text:
        raise ValueError("is not a path")
    try:
        return Path(text.strip()).expanduser() if text.strip() else None
    except RuntimeError:
        raise ValueError("names a home directory that is not known here") from None


def _read_hostname(text: str) -> str:
    if text.strip() and not _HOSTNAME.fullmatch(text.strip()):
        raise ValueError("is not a host name")
    return text.strip()


def _read_url(text: str) -> StoreUrl:
    url = text.strip()
    scheme, parted, rest = url.partition("://")
    if not url:
        return StoreUrl("")
    if not parted or scheme not in {"sqlite", "postgresql", "postgres"} or not rest.strip("/"):
        raise ValueError("is not the URL of a store")
    if scheme == "sqlite" and not rest.startswith("/"):
        raise ValueError("has too few slashes")
    if scheme == "sqlite" and "/" not in rest.strip("/"):
        # What others read as a path relative to the working directory would be a file in the root directory here.
        raise ValueError("names no directory: the path must be absolute")
    return StoreUrl(url)


FLAG = Kind(_read_flag, "true or false")
ENDPOINTS = Kind(_read_endpoints, "empty, or host:port by comma, such as 127.0.0.1:2525, [::1]:2525")
NETWORKS = Kind(_read_networks, "empty, or networks by comma, such as 10.0.0.0/8, fd00::/8")
ORIGINS = Kind(_read_origins, "empty, *, or origins by comma, such as https://admin.example.com")
PATH = Kind(_read_path, "empty, or a path")
DERIVED_PATH = cast("Kind[Path]", PATH)
"""Empty in the table alone: a loaded configuration has a path."""
HOSTNAME = Kind(_read_hostname, "empty, or a host name such as mail.example.com")
STORE_URL = Kind(_read_url, "empty, or sqlite:///path/to/file, or postgresql://user@host/database", quotable=False)
