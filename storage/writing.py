"""Writing to SQLite: works become requests to the process that has the connection (storage.sqlite_writer).

They are driven on the event loop. Each request is a hop to another process and back, so what needs no answer waits for what
does, or for the end: an ordinary group is one request, and so is one that claims. The next transaction is sent when the one
before has been sent to its end, whether or not that was answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic

from relay.errors import StoreUnavailable
from storage import sqlite_writer
from storage.durability import Durability
from storage.sqlite_writer import EXECUTE, FETCH, NOT_SYNCED, SCRIPT, Failure, Opening
from storage.statements import Statement
from storage.work import Chain, Execute, Fetch, Follow, Lock, Notify, Script, Step, T, Together, Work
from storage.writer_process import WriterProcess, error_of

COMMIT, ROLLBACK = "COMMIT", "ROLLBACK"


def encode(step: Fetch | Execute | Script, statements: Mapping[str, Statement]) -> sqlite_writer.Step:
    """A step as the connection's side takes it."""
    match step:
        case Script():
            return SCRIPT, step.text, (), None, 0
        case Execute():
            kind, at_least = EXECUTE, step.at_least
        case _:
            kind, at_least = FETCH, 0
    given = None if step.given is None else list(step.given)
    return kind, step.name, statements[step.name].bind(step.values), given, at_least


class Transaction(Generic[T]):
    """A work on its way through."""

    __slots__ = ("_awaited", "_begin", "_statements", "_work", "error", "notes", "result")

    def __init__(self, work: Work[T], statements: Mapping[str, Statement], begin: str) -> None:
        self._work = work
        self._statements = statements
        self._awaited: int | None = None
        """How many answers the work waits for; None: for one, by itself."""
        self._begin: str | None = begin
        self.notes: list[str] = []
        self.result: Any = None
        self.error: Exception | None = None

    def advance(self, answers: Sequence[object]) -> sqlite_writer.Request:
        """The next steps, up to one whose answer is awaited, with the transaction's end if they are the last."""
        begin, self._begin = self._begin, None
        steps: list[sqlite_writer.Step] = []
        answer = answers[-1] if answers else None
        try:
            while not self._take(self._work.send(answer), steps):
                answer = None
            end = None if self._awaited is None else COMMIT
        except StopIteration as done:
            self.result, end = done.value, COMMIT
        except Exception as error:
            self.error, end = error, ROLLBACK
            steps.clear()
        return begin, steps, end

    def finish(self, answers: Sequence[object]) -> None:
        """The end was answered."""
        if self._awaited is None:
            return
        try:
            self._work.send(answers[-self._awaited :])
        except StopIteration as end:
            self.result = end.value
        except Exception as error:
            self.error = error
        else:
            self.error = RuntimeError("a chain must be the last step of a work")

    def outcome(self, answers: Sequence[object]) -> T:
        """What the work returned or raised, once the end was answered."""
        self.finish(answers)
        if self.error is not None:
            raise self.error
        result: T = self.result
        return result

    def fail(self, error: Exception) -> None:
        """Nothing of it was done."""
        self._work.close()
        self.error = error

    def _take(self, step: Step, steps: list[sqlite_writer.Step]) -> bool:
        """Whether its answer is awaited."""
        match step:
            case Execute():
                steps.append(encode(step, self._statements))
                return step.answered
            case Notify():
                self.notes += step.payloads
                return False
            case Fetch():
                steps.append(encode(step, self._statements))
            case Together():
                steps += [encode(one, self._statements) for one in step.steps]
            case Chain():
                self._take_chain(step, steps)
            case Script():
                steps.append(encode(step, self._statements))
                return False
            case Lock():  # for several writers
                return False
        return True

    def _take_chain(self, chain: Chain, steps: list[sqlite_writer.Step]) -> None:
        self._awaited = len(chain.steps)
        first = len(steps)
        for one in chain.steps:
            if isinstance(one, Follow):
                links = ([first + place for place in one.after], list(one.columns))
                steps.append((FETCH, one.name, (), links, 0))
            else:
                steps.append(encode(one, self._statements))


class Writing:
    """The line of transactions, and the process they are sent to."""

    def __init__(
        self,
        opening: Opening,
        statements: Mapping[str, Statement],
        durability: Durability,
        notify: Callable[[Sequence[str]], None],
    ) -> None:
        """`notify` is told what works notify, after their commit."""
        self._opening = opening
        self._statements = statements
        self._durability = durability
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._process = WriterProcess(self._died)
        self._script = ""
        self._line: deque[tuple[Transaction[Any], asyncio.Future[Any]]] = deque()
        self._open: Transaction[Any] | None = None
        """The one whose end has not been sent."""
        self._last: asyncio.Future[Any] | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> str:
        """Answers which journal the database has."""
        journal = await self._process.start(self._opening)
        if self._script:
            await self._process.ask((None, [encode(Script(self._script), self._statements)], None))
        return journal

    async def equip(self, script: str) -> None:
        """Run it now and in each further life of the process."""
        self._script = script
        await self._process.ask((None, [encode(Script(script), self._statements)], None))

    def write(self, work: Work[T]) -> asyncio.Future[T]:
        """One transaction, carried to its end even where nobody waits for it any more."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._last = future
        self._line.append((Transaction(work, self._statements, "BEGIN IMMEDIATE"), future))
        self._go_on()
        return future

    async def close(self) -> None:
        """Finish what was put in, and end the process."""
        while self._last is not None and not self._last.done():
            await asyncio.wait([self._last])
        self._closed = True
        if self._reviving is not None:
            await asyncio.wait([self._reviving])
        await self._process.close()

    def _go_on(self) -> None:
        """Send the next transactions, where one can be sent."""
        while self._line and self._open is None:
            if not self._process.is_up:
                self._revive()
                return
            transaction, future = self._line.popleft()
            try:
                self._durability.check()
            except StoreUnavailable as error:
                transaction.fail(error)
                _tell(transaction, future)
            else:
                self._advance(transaction, future, ())

    def _advance(self, transaction: Transaction[T], future: asyncio.Future[T], answers: Sequence[object]) -> None:
        request = transaction.advance(answers)
        self._open = transaction if request[2] is None else None
        try:
            self._process.send(request, partial(self._answered, transaction, future, request[2]))
        except ValueError as error:  # a value that cannot be sent is a bug of the work
            transaction.fail(error)
            self._open = None
            self._process.send((request[0], [], ROLLBACK), partial(self._answered, transaction, future, ROLLBACK))

    def _answered(
        self,
        transaction: Transaction[T],
        future: asyncio.Future[T],
        end: str | None,
        answers: Sequence[object],
        failure: Failure | None,
    ) -> None:
        if failure is not None:
            self._failed(transaction, failure)
        elif end is None:
            self._advance(transaction, future, answers)
        elif end == COMMIT:
            transaction.finish(answers)
            if transaction.notes:
                self._notify(transaction.notes)
        if failure is not None or end is not None:
            _tell(transaction, future)
        self._go_on()

    def _failed(self, transaction: Transaction[Any], failure: Failure) -> None:
        if self._open is transaction:
            self._open = None
        if failure.code in NOT_SYNCED:
            self._durability.lose(f"{self._opening.path} could not be synced to disk ({failure.text})")
        transaction.fail(error_of(failure))

    def _died(self) -> None:
        if not self._closed:
            self._revive()

    def _revive(self) -> None:
        if self._reviving is None:
            self._reviving = self._loop.create_task(self._start_again(), name="writer")

    async def _start_again(self) -> None:
        try:
            self._durability.check()
            await self.start()
        except Exception as error:
            line, self._line = self._line, deque()
            for transaction, future in line:
                transaction.fail(error)
                _tell(transaction, future)
        finally:
            self._reviving = None
        self._go_on()


def _tell(transaction: Transaction[T], future: asyncio.Future[T]) -> None:
    if future.done():  # nobody waits any more
        return
    if transaction.error is not None:
        future.set_exception(transaction.error)
    else:
        future.set_result(transaction.result)
