"""Service: what the relay tells the service manager that started it (sd_notify(3), the protocol of systemd)."""

from __future__ import annotations

import logging
import os
import socket
from typing import Protocol

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(state: str) -> bool:
    """Send READY=1, STOPPING=1, WATCHDOG=1 or STATUS=…; several at once by line.

    False when no manager asked to be told ($NOTIFY_SOCKET). Never raises, never blocks: a manager that is gone or slow
    must not hold up mail.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name in Linux's abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as manager:
            manager.sendto(state.encode(), address)
    except OSError as fault:
        log.debug("the service manager was not told %s: %s", state, fault)
        return False
    return True


def watchdog_interval() -> float | None:
    """How often to send WATCHDOG=1, in seconds: half of what the manager allows; None when it does not watch us."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not allowed.isdigit() or int(allowed) == 0 or watched != str(os.getpid()):
        return None
    return int(allowed) / 2_000_000


class Overseer(Protocol):
    """Who is to know how this process does."""

    interval: float | None
    """How often, in seconds, a sign of life is wanted; None: never."""

    def ready(self) -> None:
        """Mail is taken."""

    def alive(self) -> None:
        """The event loop turns."""

    def stopping(self) -> None:
        """What is under way is finished."""


class ServiceManager:
    """The overseer of a relay that is one process."""

    def __init__(self) -> None:
        self.interval = watchdog_interval()

    def ready(self) -> None:
        """See Overseer."""
        notify(f"{READY}\nSTATUS=Accepting mail")

    def alive(self) -> None:
        """See Overseer."""
        notify(WATCHDOG)

    def stopping(self) -> None:
        """See Overseer."""
        notify(f"{STOPPING}\nSTATUS=Finishing what is under way")
