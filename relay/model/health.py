"""Health: what an attempt taught about its account, for the other processes of the instance: a fault pauses it for all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """Of an account by its key (Account.key). `faults` in a row; none: it is well. While there are, it is paused until
    `paused_until` (µs), when whoever found the fault probes it; `ailment` is the latest of them, for people."""

    account_key: str
    faults: int = 0
    paused_until: int = 0
    ailment: str = ""
