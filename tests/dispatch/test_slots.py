"""Which attempts use up a slot."""

from __future__ import annotations

import pytest

from relay.dispatch.outcome import settle_attempt, settle_fault, settle_local_error
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.slots import is_spent
from relay.dispatch.untried import divide, settle_expired, settle_over_limit
from relay.model.address import Address
from relay.model.delivery import (
    AccountFault,
    Attempt,
    Category,
    LeasedDelivery,
    Part,
    Phase,
    RecipientOutcome,
    Settlement,
    Verdict,
    new_recipients,
)
from relay.model.limit import Slots
from relay.model.message import Message, Priority, QueueId, Source
from relay.model.tenant import OnUnknown
from tests.support.clock import START

V, P = Verdict, Phase
MESSAGE = Message(
    QueueId("q1"), "acme", Address("a@a.example"), Priority.MEDIUM, START, 5, "<1@a.example>", Source.SMTP, "main"
)
TWO = LeasedDelivery(
    "q1.1",
    MESSAGE,
    "acme/main/acme",
    1,
    new_recipients((Address("b@b.example"), Address("c@b.example"))),
    b"",
    START,
    (Slots("account:acme/main"),),
)


def attempt(*outcomes: tuple[Verdict, Phase], fault: Phase | None = None) -> Attempt:
    return Attempt(
        tuple(RecipientOutcome(at, verdict, None, phase=phase) for at, (verdict, phase) in enumerate(outcomes)),
        START,
        START,
        "mx.example:25",
        fault=None if fault is None else AccountFault(Category.CONNECTION, fault, None, "fault"),
    )


@pytest.mark.parametrize(
    ("made", "spent"),
    [
        pytest.param(attempt((V.SENT, P.DOT), (V.SENT, P.DOT)), True, id="sent"),
        pytest.param(attempt((V.SENT, P.DOT), (V.FAILED, P.RCPT)), True, id="sent to one"),
        pytest.param(attempt((V.UNKNOWN, P.DOT), (V.UNKNOWN, P.DOT)), True, id="unknown"),
        pytest.param(attempt((V.FAILED, P.DOT), (V.FAILED, P.DOT)), True, id="refused when the receiver had it all"),
        pytest.param(attempt((V.DEFERRED, P.DOT), (V.DEFERRED, P.DOT)), True, id="put off when it had it all"),
        pytest.param(attempt((V.CAPTURED, P.DOT), (V.CAPTURED, P.DOT)), True, id="captured"),
        pytest.param(attempt((V.FAILED, P.RCPT), (V.DEFERRED, P.RCPT)), False, id="nobody accepted"),
        pytest.param(attempt((V.DEFERRED, P.MAIL), (V.DEFERRED, P.MAIL)), False, id="refused at MAIL"),
        pytest.param(attempt((V.DEFERRED, P.DATA), (V.DEFERRED, P.DATA)), False, id="refused at DATA"),
        pytest.param(attempt((V.DEFERRED, P.BODY), (V.DEFERRED, P.BODY)), False, id="cut before the dot"),
        pytest.param(attempt(fault=P.CONNECT), False, id="no connection"),
        pytest.param(attempt(fault=P.AUTH), False, id="not let in"),
        pytest.param(attempt((V.FAILED, P.RCPT), fault=P.MAIL), False, id="the account's fault before the dot"),
        pytest.param(attempt(fault=P.DOT), True, id="the account's fault after the dot"),
        pytest.param(attempt((V.SENT, P.DOT), fault=P.RCPT), True, id="sent to one, the account's fault for the other"),
        pytest.param(attempt((V.FAILED, P.RCPT)), True, id="of one recipient nothing is known"),
        pytest.param(attempt(), True, id="nothing is known"),
    ],
)
def test_the_final_dot_is_the_line(made: Attempt, spent: bool) -> None:
    assert is_spent(TWO, made) is spent
    settlement: Settlement
    if made.fault is None:
        settlement = settle_attempt(TWO, made, RetryPolicy(), OnUnknown.RETRY, START)
    else:
        settlement = settle_fault(TWO, made, made.fault, START, OnUnknown.RETRY, START)
    assert settlement.spent is spent


def test_what_was_never_tried_gives_its_slot_back() -> None:
    assert not settle_expired(TWO, START).spent
    assert not divide(TWO, (Part("acme/other/acme", (0, 1)),), START).spent
    assert not settle_over_limit(TWO, "tenant:acme", START).spent


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_error_of_ours_may_have_come_after_the_dot(number: int) -> None:
    delivery = LeasedDelivery("q1.1", MESSAGE, "acme/main/acme", number, TWO.recipients, b"", START, TWO.slots)
    assert settle_local_error(delivery, attempt(fault=P.CONNECT), START, START).spent
