"""Retention: what has been kept long enough goes: content first, then the rows of messages, then events.

In transactions of some dozen messages with pauses several times as long, so that mail does not notice. Each table is walked
by its primary key from its oldest end, which costs no index: what was removed is not there to be walked over again, and
what stays behind (mail still open, or ended late) is looked at once a day.

Nothing goes that is open; content goes only of messages that are closed; a message goes with its content; an idempotency key
and a suppression have ends of their own; an event stays while its message is open or somebody is
still to be told of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.clock import DAY, MILLISECOND, Clock
from relay.model.message import CLOSED_STATES, MessageState
from storage.database import Database
from storage.work import Lock, Row, T, Work, execute, fetch

AT_ONCE = 100
"""Messages, or ten times as many events, in one transaction."""
PAGE = 1000
"""Rows in one look."""
SHORTEST_PAUSE = 20 * MILLISECOND
PAUSE = 4
"""How many times as long as a transaction the pause behind it is."""
PAGES_AT_ONCE = 256
SPARE = 0.25
"""How much of a SQLite file may be free; what is more is given back to the system."""

_DELIVERED = {MessageState.SENT, MessageState.CAPTURED}
ROWS = ("contents", "recipients", "deliveries", "attempts", "messages")
"""The tables in which a message has rows that go with it; its events have a term of their own."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, in µs from a message's end or an event; None: for ever."""

    content: int | None = None
    """Content of messages that were sent or captured."""
    failed_content: int | None = None
    """Content of the others, which an operator may want to send after all."""
    messages: int | None = None
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """What is asked about a message: its state, and when its last recipient changed."""

    message: str
    state: MessageState
    accepted_at: int
    ended_at: int

    def content_is_due(self, terms: Terms, now: int) -> bool:
        """Whether its content may go."""
        term = terms.content if self.state in _DELIVERED else terms.failed_content
        return self.state in CLOSED_STATES and term is not None and self.ended_at < now - term

    def is_due(self, terms: Terms, now: int) -> bool:
        """Whether all of it may go but its events."""
        return self.state in CLOSED_STATES and terms.messages is not None and self.ended_at < now - terms.messages


@dataclass(slots=True)
class Removed:
    """How many went."""

    contents: int = 0
    messages: int = 0
    events: int = 0


IsDue = Callable[[Ending], bool]


class Retention:
    """`run` removes what is due. `remove_large` takes ids whose large content, beside the rows, is to go."""

    def __init__(
        self, database: Database, clock: Clock, terms: Terms, remove_large: Callable[[Sequence[str]], Awaitable[None]]
    ) -> None:
        self._database = database
        self._clock = clock
        self._terms = terms
        self._remove_large = remove_large
        self._content_after = self._message_after = ""
        self._event_after = 0
        self._anew_at = 0

    async def run(self) -> Removed:
        """Walk on from where the last walk ended; once a day from the beginning."""
        now, terms, removed = self._clock.now(), self._terms, Removed()
        if now >= self._anew_at:
            self._anew_at = now + DAY
            self._content_after, self._message_after, self._event_after = "", "", 0
        while await self._unhurried(execute("forget_old_keys", {"now": now, "count": PAGE})) == PAGE:
            pass
        while await self._unhurried(execute("forget_old_suppressions", {"now": now, "count": PAGE})) == PAGE:
            pass
        spans = [term for term in (terms.content, terms.failed_content) if term is not None]
        if spans:
            self._content_after, removed.contents = await self._walk(
                "contents_after",
                self._content_after,
                now - min(spans),
                lambda ending: ending.content_is_due(terms, now),
                ("contents",),
            )
        if terms.messages is not None:
            self._message_after, removed.messages = await self._walk(
                "messages_after",
                self._message_after,
                now - terms.messages,
                lambda ending: ending.is_due(terms, now),
                ROWS,
            )
        if terms.events is not None:
            removed.events = await self._walk_events(now - terms.events)
        if self._database.dialect == "sqlite":
            await self._give_back_space()
        return removed

    async def _walk(
        self, statement: str, after: str, horizon: int, is_due: IsDue, parts: Sequence[str]
    ) -> tuple[str, int]:
        """Where it came to, and how many went. Nothing accepted since `horizon` is looked at."""
        count = 0
        while True:
            page = await self._database.read(_look(statement, {"after": after, "count": PAGE}))
            due = [ending.message for ending in page if is_due(ending)]
            for at in range(0, len(due), AT_ONCE):
                gone, large = await self._unhurried(_remove(due[at : at + AT_ONCE], is_due, parts))
                await self._remove_large(large)
                count += gone
            passed = [ending.message for ending in page if ending.accepted_at < horizon]
            after = passed[-1] if passed else after
            if len(passed) < PAGE:
                return after, count

    async def _walk_events(self, horizon: int) -> int:
        count = 0
        while True:
            rows = await self._database.read(_look_at_events(self._event_after))
            passed = [row for row in rows if row[1] < horizon]
            due = [
                (sequence,) for sequence, _, state in passed if state is None or MessageState(state) in CLOSED_STATES
            ]
            for at in range(0, len(due), PAGE):
                count += await self._unhurried(execute("delete_some_events", given=due[at : at + PAGE]))
            if passed:
                self._event_after = passed[-1][0]
            if len(passed) < PAGE:
                return count

    async def _unhurried(self, work: Work[T]) -> T:
        """One transaction, and a pause behind it."""
        began = self._clock.boot()
        result = await self._database.write(work)
        took = self._clock.boot() - began
        await self._clock.pause(max(SHORTEST_PAUSE, PAUSE * took))
        return result

    async def _give_back_space(self) -> None:
        """Shorten the file where much of it is free; what stays free is used for the next mail."""
        ((free, pages),) = await self._database.read(fetch("free_pages"))
        surplus = free - int(pages * SPARE)
        while surplus > PAGES_AT_ONCE:
            await self._unhurried(_give_back_pages())
            surplus -= PAGES_AT_ONCE


def _look(statement: str, values: dict[str, object]) -> Work[list[Ending]]:
    rows = yield from fetch(statement, values)
    return (yield from _endings([row[0] for row in rows]))


def _endings(messages: Sequence[str]) -> Work[list[Ending]]:
    rows = yield from fetch("endings", given=[(message,) for message in messages])
    return sorted((Ending(row[0], MessageState(row[1]), *row[2:]) for row in rows), key=lambda ending: ending.message)


def _remove(messages: Sequence[str], is_due: IsDue, parts: Sequence[str]) -> Work[tuple[int, list[str]]]:
    """Delete what is still due once it is locked: an operator may have been quicker. How many, and whose large content is
    left without its message now."""
    yield Lock("lock_messages", [(message,) for message in messages])
    due = [(ending.message,) for ending in (yield from _endings(messages)) if is_due(ending)]
    large = yield from fetch("large_contents", given=due)
    for part in parts:
        yield from execute(f"delete_{part}", given=due)
    return len(due), [row[0] for row in large]


def _give_back_pages() -> Work[None]:
    for _ in range(PAGES_AT_ONCE):
        yield from fetch("give_back_page")


def _look_at_events(after: int) -> Work[Sequence[Row]]:
    """Sequence, time, and state of the message; none of which somebody is still to be told."""
    ((below,),) = yield from fetch("first_unreported")
    return (yield from fetch("events_after", {"after": after, "count": PAGE, "below": below}))
