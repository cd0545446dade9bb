"""Explain: every reason for which mail waits is named, with its time, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from relay.clock import HOUR, MINUTE, SECOND
from relay.contracts.queue import Accepted
from relay.dispatch.explain import next_attempt, reasons_of
from relay.errors import NotFound
from relay.model.address import Address
from relay.model.control import Controls
from relay.model.explanation import DeliveryExplanation, DeliveryStanding, LaneStanding, LimitStanding, ReasonKind
from relay.model.limit import Limits
from relay.model.message import DeliveryState, QueueId
from relay.model.tenant import Account, AccountKind
from storage.work import script
from tests.support.clock import START
from tests.support.core import ACME, LEASE, Core
from tests.support.gate import Gate
from tests.support.smtp_server import Action, SmtpServer

K = ReasonKind
NOW = START
ACCOUNT = Account(ACME, "main", AccountKind.SMTP, "smtp.example.com")
OPEN_LANE = LaneStanding(active=True, free=3, capacity=10, faults=0, ailment="", paused_until=0)
FULL = LimitStanding("tenant:acme", 2, NOW + MINUTE)
FREE = LimitStanding("account:acme/main", 0, None)


def standing(state: DeliveryState = DeliveryState.READY, **facts: Any) -> DeliveryStanding:
    given: dict[str, Any] = {"due": NOW, "attempt": 0, "holder": None, "lease_left": None, **facts}
    return DeliveryStanding("q.1", "acme/main/acme", state, recipients=(Address("a@b.example"),), **given)


@pytest.mark.parametrize(
    ("delivery", "facts", "kinds", "next_at"),
    [
        pytest.param(standing(), {}, [K.TURN], NOW, id="nothing in the way"),
        pytest.param(standing(due=NOW + HOUR), {}, [K.NOT_YET], NOW + HOUR, id="later"),
        pytest.param(standing(DeliveryState.HELD), {"suspended": True}, [K.HELD], None, id="held, whatever else"),
        pytest.param(
            standing(DeliveryState.LEASED, holder="one", lease_left=SECOND, attempt=2),
            {},
            [K.ATTEMPTED],
            None,
            id="leased",
        ),
        pytest.param(standing(), {"suspended": True}, [K.SUSPENDED], None, id="suspended"),
        pytest.param(standing(), {"account": None}, [K.NO_ACCOUNT], None, id="no account"),
        pytest.param(
            standing(), {"limits": [FREE, FULL]}, [K.LIMIT], NOW + MINUTE, id="of two limits the one that is full"
        ),
        pytest.param(
            standing(),
            {"lane": LaneStanding(True, 3, 10, 2, "535", NOW + HOUR)},
            [K.PAUSED],
            NOW + HOUR,
            id="breaker open",
        ),
        pytest.param(
            standing(), {"lane": LaneStanding(False, 3, 10, 0, "", 0)}, [K.INACTIVE], None, id="scheduler off"
        ),
        pytest.param(
            standing(due=NOW + 2 * MINUTE),
            {"limits": [FULL], "lane": LaneStanding(True, 3, 10, 1, "535", NOW + SECOND)},
            [K.NOT_YET, K.PAUSED, K.LIMIT],
            NOW + 2 * MINUTE,
            id="all of them, and the last one decides",
        ),
    ],
)
def test_reasons(
    delivery: DeliveryStanding, facts: dict[str, Any], kinds: list[ReasonKind], next_at: int | None
) -> None:
    given: dict[str, Any] = {"suspended": False, "limits": [FREE], "lane": OPEN_LANE, "account": ACCOUNT, **facts}
    reasons = reasons_of(delivery, now=NOW, **given)
    assert [reason.kind for reason in reasons] == kinds
    assert next_attempt(delivery, reasons) == next_at


async def only(core: Core, accepted: Accepted) -> DeliveryExplanation:
    [explained] = await core.explainer.explain(ACME, accepted.id)
    return explained


async def test_a_limit_is_named_and_when_it_opens(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, limits=Limits(per_hour=1))
    await core.submit()
    await core.log.wait_for("sent")
    explained = await only(core, await core.submit())
    assert [(reason.kind, reason.until) for reason in explained.reasons] == [(K.LIMIT, START + HOUR)]
    assert "account acme/main is reached (1 of 1 per hour)" in explained.reasons[0].detail
    assert explained.next_attempt_at == START + HOUR
    assert explained.route is not None
    assert explained.route.next_hop == f"127.0.0.1:{server.port}"


async def test_an_attempt_under_way_is_named_and_who_makes_it(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    accepted = await core.submit()
    await gate.reached()
    explained = await only(core, accepted)
    assert [(reason.kind, reason.until) for reason in explained.reasons] == [(K.ATTEMPTED, START + LEASE)]
    assert explained.delivery.holder == "test"
    gate.set()
    await core.log.wait_for(accepted.id, "sent")
    assert list(await core.explainer.explain(ACME, accepted.id)) == []


async def test_a_retry_a_pause_and_a_suspension(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.on("rcpt", "450 4.2.0 later")
    deferred = await core.submit()
    await core.log.wait_for(deferred.id, "deferred")
    assert [reason.kind for reason in (await only(core, deferred)).reasons] == [K.NOT_YET]
    await core.add_account(1, "shut")
    shut = await core.submit(controls=Controls(account="shut"))
    await core.log.wait_for("account_paused")
    await core.log.wait_for(shut.id, "deferred")
    assert K.PAUSED in {reason.kind for reason in (await only(core, shut)).reasons}
    await core.store._database.write(
        script("INSERT INTO suspensions (tenant_id, batch, suspended, swept, since) VALUES ('acme', 'x', 1, 1, 0);")
    )
    core.store._directory.cache.forget()
    waits = await core.submit(controls=Controls(batch="x"))
    assert [reason.kind for reason in (await only(core, waits)).reasons] == [K.SUSPENDED]


async def test_a_message_of_another_tenant_is_missing(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    accepted = await core.submit()
    with pytest.raises(NotFound):
        await core.explainer.explain("other", accepted.id)
    with pytest.raises(NotFound):
        await core.explainer.explain(None, QueueId("missing"))
