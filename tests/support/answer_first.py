"""The negative control of the crash tests: a relay that answers before it commits. It must be caught losing mail.

Run as `python -m tests.support.answer_first serve --config FILE`, in place of `stagepost serve`.
"""

from __future__ import annotations

import asyncio

from relay.contracts.queue import Accepted
from relay.model.delivery import NewMessage
from storage.queue import Queue

DELAY = 0.5
"""Seconds between the answer and the commit: what a relay without durability has in memory. Long enough that who is killed
under load has answered somebody within it, on slow machines too."""

_pending: set[asyncio.Task[object]] = set()
_accept = Queue.accept


async def _accept_later(queue: Queue, new: NewMessage) -> None:
    await asyncio.sleep(DELAY)
    await _accept(queue, new)


def _answer_first(queue: Queue, new: NewMessage) -> asyncio.Future[Accepted]:
    task = asyncio.create_task(_accept_later(queue, new))
    _pending.add(task)
    task.add_done_callback(_pending.discard)
    answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
    answer.set_result(Accepted(new.message.id))
    return answer


if __name__ == "__main__":
    from relay.cli.main import main

    Queue.accept = _answer_first  # type: ignore[method-assign,assignment]
    main()
