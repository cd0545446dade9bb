"""Lane: what dispatch believes of a queue must never be more hopeful than the truth, nor forget a wake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import MINUTE, SECOND
from relay.dispatch.breaker import Breaker
from relay.dispatch.lane import Ask, Lane
from relay.dispatch.way import Way
from relay.model.address import Address
from relay.model.delivery import Claim, LeasedDelivery
from relay.model.message import Message, Priority, QueueId, Source
from tests.support.clock import START

NOW = START
NOTHING = Claim((), None)
ANY = LeasedDelivery(
    "1.1",
    Message(QueueId("1"), "acme", Address("ann@acme.example"), Priority.MEDIUM, NOW, 1, "<1@a>", Source.SMTP, "main"),
    "acme/main/acme",
    1,
    (),
    None,
    NOW,
)


def lane(capacity: int = 3) -> Lane:
    way = Way("acme/main")
    way.capacity = capacity
    return Lane("acme/main/acme", way)


def ask(lane: Lane, slots: int) -> Ask:
    """A claim whose transaction has begun."""
    new = lane.ask(slots)
    assert new is not None
    lane.begin(new)
    return new


def wanted(lane: Lane, now: int) -> int:
    """How many deliveries would be claimed now."""
    return lane.way.allowance(now) if lane.may_claim(now) else 0


def test_an_idle_lane_wants_nothing_and_is_not_looked_at() -> None:
    idle = lane()
    assert wanted(idle, NOW) == 0
    assert idle.next_look(NOW) is None
    assert not idle.has_backlog(NOW)


def test_a_lane_wants_what_is_due_as_far_as_it_has_room() -> None:
    busy = lane()
    busy.note_due(NOW + SECOND)
    assert (wanted(busy, NOW), busy.next_look(NOW), busy.has_backlog(NOW)) == (0, NOW + SECOND, False)
    assert (wanted(busy, NOW + SECOND), busy.next_look(NOW + SECOND), busy.has_backlog(NOW + SECOND)) == (3, None, True)
    busy.way.in_flight = 2
    assert wanted(busy, NOW + SECOND) == 1
    busy.way.in_flight = 5  # its account was made smaller meanwhile
    assert wanted(busy, NOW + SECOND) == 0


def test_the_earliest_due_time_counts() -> None:
    one = lane()
    for at in (NOW + 5, NOW + 3, NOW + 9):
        one.note_due(at)
    assert one.next_due == NOW + 3


def test_new_mail_does_not_overtake_a_claim_nor_does_a_second_one() -> None:
    one = lane()
    one.note_due(NOW)
    first = ask(one, 3)
    assert (wanted(one, NOW), one.next_look(NOW), one.has_backlog(NOW), one.way.free) == (0, None, True, 0)
    assert one.end(first, NOTHING, NOW) == 3
    assert (one.next_due, one.way.free, one.has_backlog(NOW)) == (None, 3, False)


def test_what_comes_free_before_a_claim_begins_goes_along() -> None:
    one = lane(5)
    one.note_due(NOW)
    first = one.ask(2)
    assert first is not None
    assert one.ask(1) is None
    assert (first.slots, wanted(one, NOW), one.may_ask) == (3, 2, one.way.batch_size - 3)
    one.begin(first)
    assert one.may_ask == 0
    one.end(first, None, NOW)
    assert (one.way.free, first.slots) == (5, 0)


def test_a_claim_that_left_something_due_may_be_followed_before_the_next_has_come_back() -> None:
    one = lane(2)
    one.note_due(NOW)
    one.end(ask(one, 1), Claim((ANY,), NOW), NOW)
    one.way.in_flight = 0
    second = ask(one, 1)
    assert wanted(one, NOW) == 1
    third = ask(one, 1)
    one.note_due(NOW + 9)
    assert one.end(second, NOTHING, NOW) == 1
    assert (one.next_due, one.may_ask) == (NOW + 9, 0), "it is not long any more"
    assert one.end(third, NOTHING, NOW) == 1
    assert (one.next_due, one.may_ask) == (NOW + 9, one.way.batch_size)


def test_a_wake_while_a_claim_is_on_its_way_is_not_lost() -> None:
    one = lane()
    one.note_due(NOW)
    first = ask(one, 1)
    one.note_due(NOW + 7)
    one.note_due(NOW + 4)
    one.end(first, Claim((), NOW + 5), NOW)
    assert one.next_due == NOW + 4
    one.end(ask(one, 1), NOTHING, NOW)  # and it is not remembered twice
    assert one.next_due is None


def test_a_claim_that_has_not_begun_sees_what_was_committed_before() -> None:
    one = lane()
    one.note_due(NOW)
    first = one.ask(1)
    assert first is not None
    one.note_due(NOW)
    one.begin(first)
    one.end(first, NOTHING, NOW)
    assert one.next_due is None


def test_a_claim_that_failed_leaves_things_as_they_were() -> None:
    one = lane()
    one.note_due(NOW)
    one.end(ask(one, 2), None, NOW)
    assert (one.next_due, one.way.free, wanted(one, NOW)) == (NOW, 3, 3)


def test_an_open_breaker_is_looked_at_when_it_may_be_tried() -> None:
    one = lane()
    one.note_due(NOW)
    one.way.breaker = Breaker(1, NOW + MINUTE)
    assert (wanted(one, NOW), one.next_look(NOW)) == (0, NOW + MINUTE)
    assert wanted(one, NOW + MINUTE) == 1


def test_while_the_probe_runs_nobody_looks() -> None:
    """A time in the past would have the loop look again and again, and never let the probe run."""
    one = lane()
    one.note_due(NOW)
    one.way.breaker = Breaker(1, NOW - SECOND)
    one.way.in_flight = 1
    assert (wanted(one, NOW), one.next_look(NOW)) == (0, None)


@given(
    next_due=st.none() | st.integers(NOW - 5, NOW + 5),
    open_until=st.integers(NOW - 5, NOW + 5),
    faults=st.integers(0, 2),
    in_flight=st.integers(0, 4),
    claiming=st.booleans(),
)
def test_a_lane_either_claims_or_is_looked_at_later_or_has_something_under_way(
    next_due: int | None, open_until: int, faults: int, in_flight: int, claiming: bool
) -> None:
    one = lane()
    if claiming:
        ask(one, 1)
    one.next_due, one.way.in_flight = next_due, in_flight
    one.way.breaker = Breaker(faults, open_until if faults else 0)
    look = one.next_look(NOW)
    assert look is None or look > NOW
    if next_due is not None:
        assert wanted(one, NOW) > 0 or look is not None or in_flight > 0 or claiming
    else:
        assert wanted(one, NOW) == 0
        assert look is None


@pytest.mark.parametrize("capacity", [0, 1, 100])
def test_free_slots_are_never_negative(capacity: int) -> None:
    one = lane(capacity)
    one.way.in_flight = 50
    assert one.way.free == max(0, capacity - 50)


@pytest.mark.parametrize(
    ("in_flight", "settling", "room"), [(0, 0, 3), (1, 3, 2), (1, 4, 1), (0, 6, 0), (3, 3, 0), (3, 4, -1)]
)
def test_outcomes_beyond_as_many_as_connections_take_slots(in_flight: int, settling: int, room: int) -> None:
    way = Way("acme/main")
    way.capacity, way.in_flight, way.settling = 3, in_flight, settling
    assert way.room == room
    assert way.free == max(0, room)
