"""A relay that dies when it attempts a message to poison@…: run as `python -m tests.support.killed_by_poison serve …`, in
place of `stagepost serve`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from relay.delivery.courier import Courier
from relay.model.delivery import Attempt, LeasedDelivery
from relay.model.tenant import Account

_deliver = Courier.deliver


async def _deliver_or_die(
    courier: Courier, delivery: LeasedDelivery, account: Account, is_ours: Callable[[], bool]
) -> Attempt:
    if delivery.recipients[0].address.startswith("poison@"):
        os.abort()
    await asyncio.sleep(0.05)  # so that others are on their way when it dies
    return await _deliver(courier, delivery, account, is_ours)


if __name__ == "__main__":
    from relay.cli.main import main

    Courier.deliver = _deliver_or_die  # type: ignore[method-assign,assignment]
    main()
