"""A relay that connects to nothing but loopback: for tests that let clients name any host.

Run as `python -m tests.support.confined serve --config FILE`, in place of `stagepost serve`. What leads elsewhere is refused
like a host that cannot be reached, before its name is looked up.
"""

from __future__ import annotations

import errno
import socket

from relay.delivery.connection import Connector
from relay.model.tenant import Account

LOOPBACK = {"127.0.0.1", "::1"}

_reach = Connector._reach


async def _reach_loopback(connector: Connector, account: Account, patience: float) -> socket.socket:
    if account.host not in LOOPBACK:
        raise OSError(errno.EHOSTUNREACH, "this relay is confined to loopback")
    return await _reach(connector, account, patience)


if __name__ == "__main__":
    from relay.cli.main import main

    Connector._reach = _reach_loopback  # type: ignore[method-assign,assignment]
    main()
