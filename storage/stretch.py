"""Stretch: what a work asks for between one answer and the next step that needs one: it can travel together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from storage.work import Chain, Execute, Fetch, Notify, Step, T, Work


@dataclass(frozen=True, slots=True)
class Stretch(Generic[T]):
    """Of a work."""

    unanswered: Sequence[Execute]
    notes: Sequence[str]
    """What others are to be notified, each once."""
    step: Step | None
    """What must be answered; None: the work has ended."""
    result: T | None = None

    @property
    def last(self) -> Fetch | None:
        """The step, where it is one statement and the work's last."""
        match self.step:
            case Chain(steps=[Fetch() as last]):
                return last
        return None

    def is_whole(self, *, notes_go_along: bool) -> bool:
        """Whether it is all of its work, and one statement, which can commit by itself."""
        return self.step is None or (self.last is not None and (notes_go_along or not self.notes))


def advance(work: Work[T], answer: object) -> Stretch[T]:
    """The work's next one."""
    unanswered: list[Execute] = []
    notes: dict[str, None] = {}
    try:
        while True:
            step: Step = work.send(answer)
            answer = None
            if isinstance(step, Notify):
                notes.update(dict.fromkeys(step.payloads))
            elif isinstance(step, Execute) and not step.answered:
                unanswered.append(step)
            else:
                return Stretch(unanswered, [*notes], step)
    except StopIteration as end:
        return Stretch(unanswered, [*notes], None, end.value)
