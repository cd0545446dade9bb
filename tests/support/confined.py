"""A relay that connects to nothing but loopback: for tests that let clients name any host.

Run as `python -m tests.support.confined serve --config FILE`, in place of `stagepost serve`. What leads elsewhere is refused
like a host that cannot be reached, before its name is looked up; any other connection of a Python socket is refused as well.
"""

from __future__ import annotations

import errno
import socket
import sys

from relay.delivery.connection import Connector
from relay.model.tenant import Account

LOOPBACK = {"127.0.0.1", "::1"}

_reach = Connector._reach


async def _reach_loopback(connector: Connector, account: Account, patience: float) -> socket.socket:
    if account.host not in LOOPBACK:
        raise OSError(errno.EHOSTUNREACH, "this relay is confined to loopback")
    return await _reach(connector, account, patience)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook (PEP 578)."""
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and address[0] not in LOOPBACK:
        raise OSError(errno.EHOSTUNREACH, "this relay is confined to loopback")


if __name__ == "__main__":
    sys.addaudithook(_refuse)
    from relay.cli.main import main

    Connector._reach = _reach_loopback  # type: ignore[method-assign,assignment]
    main()
