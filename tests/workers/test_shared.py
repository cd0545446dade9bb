"""What workers share in memory and by pipes; the workers here are processes, where it matters that they are."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from relay.workers.connections import Connections
from relay.workers.depth import Depth
from relay.workers.share import Share
from relay.workers.wakes import Wakes


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked process; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def ended_well(*pids: int) -> bool:
    return all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in pids)


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 10, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_parts_make_the_whole(total: int, count: int) -> None:
    for name in ("a/main", "b/main", "c/main"):
        parts = [Share(number, count).of(total, name) for number in range(count)]
        assert sum(parts) == total
        assert max(parts) - min(parts) <= 1


def test_what_does_not_divide_is_spread() -> None:
    holders = Counter(n for name in range(300) for n in range(3) if Share(n, 3).of(1, f"t/{name}"))
    assert all(70 < holders[n] < 130 for n in range(3))


def test_connections_are_counted_over_all_workers() -> None:
    connections = Connections(2, 3, 2)
    one, two = connections.seat(0), connections.seat(1)
    assert [one.enter("a"), two.enter("a"), two.enter("a")] == [True, True, None]
    assert [two.enter("b"), one.enter("c")] == [True, False]
    one.leave("a")
    assert [one.enter("b"), one.enter("c")] == [True, False]
    connections.forget(1)
    assert [one.enter("a"), one.enter("a"), one.enter("d")] == [True, True, False]


def test_connections_against_a_plain_count() -> None:
    chance = random.Random(1)
    connections = Connections(3, 40, 6)
    seats = [connections.seat(number) for number in range(3)]
    held: list[tuple[int, str]] = []
    for _ in range(20_000):
        if held and chance.random() < 0.5:
            number, client = held.pop(chance.randrange(len(held)))
            seats[number].leave(client)
            continue
        number, client = chance.randrange(3), f"10.0.0.{chance.randrange(12)}"
        of_client = sum(1 for _, other in held if other == client)
        expected = False if len(held) >= 40 else None if of_client >= 6 else True
        assert seats[number].enter(client) is expected
        if expected:
            held.append((number, client))


def test_no_two_processes_take_the_last_place() -> None:
    most, rounds = 5, 4000
    connections = Connections(2, most, most)
    depth = Depth(2)  # here: how many places each process holds, by its own account

    def work(number: int) -> Callable[[], None]:
        def compete() -> None:
            seat, own = connections.seat(number), 0
            for _ in range(rounds):
                if seat.enter("client"):
                    own += 1
                    depth.numbers[number] = own
                    if depth.total > most:
                        raise AssertionError("one too many")
                elif own:
                    depth.numbers[number] = own - 1  # before the place is free for the other
                    own -= 1
                    seat.leave("client")

        return compete

    assert ended_well(in_child(work(0)), in_child(work(1)))


def test_a_worker_that_dies_while_it_counts_leaves_no_lock() -> None:
    connections = Connections(2, 10, 10)

    def die_inside() -> None:
        with connections._locked():
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_child(die_inside), 0)
    assert connections.seat(0).enter("a")


def test_the_depth_is_what_all_of_them_say() -> None:
    depth = Depth(2)
    depth.correct(10)
    one, two = depth.seat(0), depth.seat(1)
    one.add(5)
    two.add(-3)  # what one has taken in, another may finish
    assert (one.total, two.total) == (12, 12)
    two.correct(20)
    assert one.total == 20


class Ear:
    """Hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missed = 0
        self.something = asyncio.Event()

    def began(self) -> None:
        self.missed += 1
        self.something.set()

    def heard(self, payload: str) -> None:
        self.lines.append(payload)
        self.something.set()


async def test_what_one_tells_all_others_hear() -> None:
    wakes = Wakes(3)
    ears = [Ear() for _ in range(3)]
    for number, ear in enumerate(ears):
        wakes.seat(number).listen(ear)
    wakes.seat(1).tell(["ready 5 a/main", "open x"])
    async with asyncio.timeout(20):
        await ears[0].something.wait()
        await ears[2].something.wait()
    assert [ear.lines for ear in ears] == [["ready 5 a/main", "open x"], [], ["ready 5 a/main", "open x"]]


async def test_whoever_cannot_keep_up_is_told_to_look() -> None:
    wakes = Wakes(2)
    ear = Ear()
    for number in range(5000):
        wakes.seat(0).tell([f"ready {number} acme/main"])
    wakes.seat(1).listen(ear)
    async with asyncio.timeout(20):
        while not ear.missed:
            ear.something.clear()
            await ear.something.wait()
    assert 0 < len(ear.lines) < 5000
    assert all(line.startswith("ready ") and line.endswith(" acme/main") for line in ear.lines)


async def test_a_change_is_known_before_it_is_heard_of() -> None:
    wakes = Wakes(2)
    before = wakes.seat(0).changes()
    assert ended_well(in_child(wakes.seat(1).note_change))
    assert wakes.seat(0).changes() == before + 1
