"""Group commit alone: a database that records which works it was given, and fails where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from relay.errors import Conflict, StoreUnavailable
from storage.database import Hearing
from storage.group_commit import MAX_GROUP, PATIENCE, GroupCommit, Item, Outcome
from storage.statements import Dialect
from storage.work import T, Work


@dataclass(frozen=True, slots=True)
class Number(Item[int]):
    value: int


def compose(items: Sequence[Item[object]], *, alone: bool) -> Work[Sequence[Outcome]]:
    """Doubles numbers; a negative one breaks its transaction, zero is refused to its caller alone."""
    yield from ()
    numbers = [item.value for item in items if isinstance(item, Number)]
    if any(number < 0 for number in numbers):
        raise ValueError("negative")
    return [2 * number if number else Conflict("zero") for number in numbers]


class Gate:
    """Satisfies Database: every write waits until it is let through."""

    dialect: Dialect = "sqlite"
    claims_at_once = False

    def __init__(self, groups_at_most: int = 1) -> None:
        self.groups_at_most = groups_at_most
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.writes = 0
        self.down = False

    async def write(self, work: Work[T]) -> T:
        self.writes += 1
        self.begun.set()
        await self.open.wait()
        if self.down:
            raise StoreUnavailable("down")
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        raise AssertionError("these works have no steps")

    async def read(self, work: Work[T]) -> T:
        return await self.write(work)

    async def equip(self) -> None: ...

    async def listen(self, hearing: Hearing) -> None: ...

    async def close(self) -> None: ...


async def test_what_waits_shares_the_next_transaction() -> None:
    gate = Gate()
    gate.open.clear()
    group = GroupCommit(gate, compose)
    first = group.put(Number(1))
    await gate.begun.wait()
    others = [group.put(Number(n)) for n in range(2, 50)]
    await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(first, *others) == [2 * n for n in range(1, 50)]
    assert gate.writes == 2


async def test_what_goes_ahead_waits_for_one_transaction_however_many_items_wait() -> None:
    gate = Gate()
    gate.open.clear()
    group = GroupCommit(gate, compose)
    done: list[int] = []

    async def put(number: int, *, ahead: bool) -> None:
        done.append(await group.put(Number(number), ahead=ahead))

    tasks = [asyncio.create_task(put(1, ahead=False))]
    await gate.begun.wait()
    tasks += [asyncio.create_task(put(number, ahead=False)) for number in range(2, 3 * MAX_GROUP)]
    tasks += [asyncio.create_task(put(number, ahead=True)) for number in (1000, 1001)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert done[:4] == [2, 2000, 2002, 4]
    assert len(done) == len(tasks)


async def begun(gate: Gate, group: GroupCommit, number: int) -> asyncio.Future[int]:
    """Put in, and its transaction has begun."""
    gate.begun.clear()
    future = group.put(Number(number))
    await gate.begun.wait()
    return future


@pytest.mark.parametrize("groups_at_most", [1, 3])
async def test_a_group_that_waits_too_long_holds_up_nobody_where_they_can_overlap(groups_at_most: int) -> None:
    gate = Gate(groups_at_most)
    group = GroupCommit(gate, compose)
    stuck = []
    for number in range(1, groups_at_most):
        gate.open = asyncio.Event()  # a gate of its own
        stuck.append(await begun(gate, group, number))
    gate.open = asyncio.Event()
    last = await begun(gate, group, 100)
    waits = group.put(Number(200))
    _, pending = await asyncio.wait([last, waits], timeout=3 * PATIENCE)
    assert pending == {last, waits}, "no more than that are under way"
    assert gate.writes == groups_at_most
    gate.open.set()
    assert [await last, await waits] == [200, 400]
    assert not any(one.done() for one in stuck)


async def test_only_the_culprit_fails() -> None:
    group = GroupCommit(Gate(), compose)
    answers = await asyncio.gather(*(group.put(Number(n)) for n in (1, -1, 2, 0)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, ValueError, int, Conflict]


@pytest.mark.parametrize("culprit", [True, False])
async def test_a_group_without_a_culprit_is_told_of(caplog: pytest.LogCaptureFixture, culprit: bool) -> None:
    """It costs a transaction for each of its members. Where no lease was lost it is nobody's fault but ours."""
    caplog.set_level("INFO")

    def together(items: Sequence[Item[object]], *, alone: bool) -> Work[Sequence[Outcome]]:
        if not alone:
            raise KeyError("ours")
        return compose(items, alone=alone)

    group = GroupCommit(Gate(), together)
    await asyncio.gather(*map(group.put, [Number(1), Number(-1 if culprit else 2)]), return_exceptions=True)
    assert ("2 of a group failed together and not one by one: KeyError('ours')" in caplog.text) is not culprit


async def test_a_store_that_is_down_is_down_for_all() -> None:
    gate = Gate()
    gate.down = True
    group = GroupCommit(gate, compose)
    answers = await asyncio.gather(*(group.put(Number(n)) for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert gate.writes == 1
    gate.down = False
    assert await group.put(Number(4)) == 8


async def test_a_caller_that_leaves_undoes_nothing() -> None:
    gate = Gate()
    gate.open.clear()
    group = GroupCommit(gate, compose)
    leaving = group.put(Number(1))
    staying = group.put(Number(2))
    await gate.begun.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open.set()
    assert await staying == 4
    assert gate.writes == 1


async def test_closing_finishes_what_was_put_in() -> None:
    group = GroupCommit(Gate(), compose)
    tasks = [group.put(Number(n)) for n in range(1, 600)]
    await asyncio.sleep(0)
    await group.close()
    assert await asyncio.gather(*tasks) == [2 * n for n in range(1, 600)]
    with pytest.raises(StoreUnavailable):
        await group.put(Number(1))
