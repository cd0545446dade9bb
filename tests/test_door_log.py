"""The door's log: a crowd that is refused is counted to the last, and told of in a few lines."""

from __future__ import annotations

import io

from relay.clock import SECOND
from relay.door_log import LINES_A_SECOND, DoorLog
from relay.errors import Refusal
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.reply import Reply
from tests.support.clock import FakeClock


def test_a_crowd_makes_a_few_lines() -> None:
    clock, stream, metrics = FakeClock(), io.StringIO(), Metrics()
    door = DoorLog(MailLog(clock, stream=stream), metrics, clock)
    for _ in range(5000):
        door.connection_refused("192.0.2.1")
        door.message_rejected("192.0.2.1", None, "", Refusal.QUEUE_FULL.reply())
    assert len(stream.getvalue().splitlines()) == 2 * LINES_A_SECOND
    assert metrics.registry.get_sample_value("stagepost_smtp_connections_refused_total") == 5000
    clock.advance(SECOND)
    door.connection_refused("192.0.2.2")
    assert stream.getvalue().splitlines()[-1].endswith(f"peer=192.0.2.2 left_out={5000 - LINES_A_SECOND}")
    door.connection_refused("192.0.2.2")
    assert stream.getvalue().splitlines()[-1].endswith("peer=192.0.2.2")


def test_what_is_refused_for_good_is_always_told() -> None:
    clock, stream, metrics = FakeClock(), io.StringIO(), Metrics()
    door = DoorLog(MailLog(clock, stream=stream), metrics, clock)
    for _ in range(100):
        door.message_rejected("192.0.2.1", "erp", "a@b.example", Reply(550, "5.7.1", "no"))
    assert len(stream.getvalue().splitlines()) == 100
