"""The negative control of the crash tests: a relay that answers before it commits. It must be caught losing mail.

Run as `python -m tests.support.answer_first serve --config FILE`, in place of `stagepost serve`. Only the answer comes too
early: a message is handed over after its commit, as ever. Were it sent before, it would have arrived, and none be missed.
"""

from __future__ import annotations

import asyncio

from relay.contracts.queue import Accepted, Slot
from relay.intake.accept import Intake
from relay.model.delivery import NewMessage

DELAY = 0.5
"""Seconds between the answer and the commit: what a relay without durability has in memory. Long enough that who is killed
under load has answered somebody within it, on slow machines too."""

_commit = Intake._commit


def _answer_first(intake: Intake, new: NewMessage, slot: Slot | None) -> asyncio.Future[Accepted]:
    loop = asyncio.get_running_loop()
    loop.call_later(DELAY, _commit_unheard, intake, new, slot)
    answer: asyncio.Future[Accepted] = loop.create_future()
    answer.set_result(Accepted(new.message.id))
    return answer


def _commit_unheard(intake: Intake, new: NewMessage, slot: Slot | None) -> None:
    _commit(intake, new, slot).add_done_callback(asyncio.Future.exception)  # nobody waits for what it says


if __name__ == "__main__":
    from relay.cli.main import main

    Intake._commit = _answer_first  # type: ignore[method-assign,assignment]
    main()
