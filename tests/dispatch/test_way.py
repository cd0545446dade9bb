"""Way: connections are shared out evenly, with a short head start for who comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.dispatch.lane import Lane
from relay.dispatch.way import CLAIM_AT_MOST, Way
from relay.model.tenant import Account, AccountKind

ACCOUNT = Account("*", "main", AccountKind.SMTP)


def way(capacity: int = 4) -> Way:
    one = Way("*/main")
    one.capacity = capacity
    return one


def lanes(way: Way, *served: int) -> list[Lane]:
    found = [Lane(f"*/main/t{number}", way) for number in range(len(served))]
    for lane, count in zip(found, served, strict=True):
        lane.served = count
    return found


@pytest.mark.parametrize(
    ("slots", "served", "shares"),
    [
        pytest.param(0, [0, 0], [0, 0], id="nothing to share"),
        pytest.param(4, [7], [4], id="one takes all"),
        pytest.param(4, [0, 0], [2, 2], id="two share"),
        pytest.param(3, [0, 0], [2, 1], id="the first in line has the odd one"),
        pytest.param(4, [5, 2], [1, 3], id="who had less gets more"),
        pytest.param(2, [9, 0, 0], [0, 1, 1], id="who had much waits"),
        pytest.param(2, [0, 0, 0], [1, 1, 0], id="more lanes than slots"),
    ],
)
def test_slots_go_to_who_was_served_least(slots: int, served: list[int], shares: list[int]) -> None:
    one = way()
    found = lanes(one, *served)
    shared = one.share(slots, found)
    assert [shared[lane] for lane in found] == shares


def test_no_claim_is_larger_than_the_accounts_batch() -> None:
    one = way(10)
    one.batch_size = 3
    found = lanes(one, 0, 0)
    assert sorted(one.share(10, found).values()) == [3, 3]


def test_who_comes_back_has_a_head_start_of_one_round_and_no_more() -> None:
    one = way(4)
    busy, back = lanes(one, 1000, 0)
    one.join(busy)
    one.share(1, [busy])
    one.join(back)
    assert back.served == 1000 - 4
    shared = one.share(6, [busy, back])
    assert (shared[back], shared[busy]) == (5, 1)


def test_who_stays_in_line_is_not_credited_again() -> None:
    one = way(4)
    busy, back = lanes(one, 1000, 0)
    one.share(1, [busy])
    one.join(back)
    back.served += 4
    one.join(back)
    assert back.served == 1000
    del one.pending[back]
    back.ask(1)
    back.served = 500
    one.join(back)
    assert back.served == 500


def test_room_for_more_is_told() -> None:
    told: list[int] = []
    one = Way("*/main", lambda: told.append(one.capacity))
    one.resize(replace(ACCOUNT, max_connections=1))
    assert told == []
    one.resize(replace(ACCOUNT, max_connections=5))
    assert told == [5]
    one.resize(replace(ACCOUNT, max_connections=2, batch_size=7))
    assert (told, one.capacity, one.batch_size) == ([5], 2, 7)
    one.resize(replace(ACCOUNT, max_connections=2))
    assert one.batch_size == CLAIM_AT_MOST
