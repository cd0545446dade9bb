"""The clocks: the machine's and the tests' keep the same promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, MILLISECOND, MINUTE, SECOND, Clock, SystemClock, rfc3339
from tests.support.clock import START, FakeClock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


async def test_an_event_already_set_is_true_whatever_the_time(clock: Clock) -> None:
    event = asyncio.Event()
    event.set()
    assert await clock.wait(event, clock.now() - SECOND) is True
    assert await clock.wait(event, None) is True


async def test_a_time_already_past_is_false(clock: Clock) -> None:
    assert await clock.wait(asyncio.Event(), clock.now() - SECOND) is False
    assert await clock.wait(asyncio.Event(), clock.now()) is False


async def test_a_wait_for_a_past_time_lets_others_run(clock: Clock) -> None:
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await clock.wait(asyncio.Event(), 0)
    assert ran.is_set()


async def test_the_event_ends_the_wait(clock: Clock) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    assert await clock.wait(event, clock.now() + DAY) is True
    event.clear()
    asyncio.get_running_loop().call_soon(event.set)
    assert await clock.wait(event, None) is True


async def test_a_cancelled_wait_is_cancelled(clock: Clock) -> None:
    task = asyncio.create_task(clock.wait(asyncio.Event(), clock.now() + DAY))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_machine_s_clock_ends_a_wait_in_time() -> None:
    clock = SystemClock()
    before = clock.boot()
    assert await clock.wait(asyncio.Event(), clock.now() + 5 * MILLISECOND) is False
    assert clock.boot() - before >= 4 * MILLISECOND


async def test_a_pause_ends_with_its_event(clock: Clock) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    assert await clock.pause(DAY, event) is True
    assert await clock.pause(0) is False


async def test_a_pause_is_as_long_whatever_the_wall_clock_is_set_to() -> None:
    fake = FakeClock()
    pausing = asyncio.create_task(fake.pause(MINUTE))
    await fake.until_slept(START + MINUTE)
    fake.step_back(DAY)
    assert fake.sleeping_until == (START + MINUTE - DAY,)
    fake.advance(MINUTE)
    assert await pausing is False
    machine = SystemClock()
    pausing = asyncio.create_task(machine.pause(20 * MILLISECOND))
    await asyncio.sleep(0)
    machine.set_back(DAY)
    assert await asyncio.wait_for(pausing, 10) is False


async def test_advance_wakes_those_whose_time_has_come_earliest_first() -> None:
    clock = FakeClock()
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await clock.wait(asyncio.Event(), START + seconds * SECOND)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (30, 10, 20)]
    await clock.until_slept(START + 20 * SECOND)
    assert clock.sleeping_until == tuple(START + seconds * SECOND for seconds in (10, 20, 30))
    clock.advance(20 * SECOND)
    await asyncio.wait(tasks[1:])
    assert woken == [10, 20]
    assert not tasks[0].done()
    clock.advance(10 * SECOND)
    await tasks[0]
    assert clock.sleeping_until == ()


def test_putting_the_wall_clock_back_does_not_touch_what_counts_from_boot() -> None:
    clock = FakeClock()
    before = clock.boot()
    clock.step_back(DAY)
    assert clock.boot() == before
    assert clock.now() == START - DAY


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999, "1970-01-01T00:00:00.000Z"),
        (1_769_847_300_123_999, "2026-01-31T08:15:00.123Z"),
        (4_102_444_799_999_999, "2099-12-31T23:59:59.999Z"),
    ],
)
def test_rfc3339(at: int, text: str) -> None:
    assert rfc3339(at) == text


@given(st.integers(0, 4_102_444_799_999_999))
def test_rfc3339_cuts_to_the_millisecond_and_reads_back(at: int) -> None:
    read = datetime.fromisoformat(rfc3339(at))
    since = read - datetime(1970, 1, 1, tzinfo=UTC)
    assert (since.days * 86400 + since.seconds) * SECOND + since.microseconds == at // 1000 * 1000
