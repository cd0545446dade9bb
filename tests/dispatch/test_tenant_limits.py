"""Limits of tenants and of their mail to a domain: who is over one waits or fails, everything else goes."""

from __future__ import annotations

from relay.clock import HOUR, MINUTE
from relay.model.control import Controls
from relay.model.explanation import WindowStanding
from relay.model.limit import Limits, LimitUnit, OnLimit
from relay.model.message import RecipientState
from relay.model.tenant import INSTANCE
from tests.support.clock import START
from tests.support.core import ACME, Core
from tests.support.smtp_server import SmtpServer

R = RecipientState
ONE_AN_HOUR = Limits(per_hour=1)


def recipients(server: SmtpServer) -> list[tuple[str, ...]]:
    return [message.recipients for message in server.messages]


async def test_a_tenants_limit_spans_its_accounts_and_binds_no_other(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, tenant=INSTANCE)
    await core.add_account(server.port, "second")
    await core.add_tenant("free")
    await core.change_tenant(limits=Limits(per_hour=2))
    await core.submit()
    await core.log.wait_for("sent")
    await core.submit(controls=Controls(account="second"))
    await core.log.wait_for("sent", count=2)
    over = [await core.submit(), await core.submit(controls=Controls(account="second"))]
    for _ in range(3):
        await core.submit(tenant="free")
    await core.log.wait_for("sent", count=5)
    assert [await core.states(one) for one in over] == [[R.QUEUED], [R.QUEUED]]
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR)
    await core.log.wait_for("sent", count=7)


async def test_mail_to_a_limited_domain_waits_and_the_rest_of_the_message_goes(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.change_tenant(domain_limits={"slow.example": ONE_AN_HOUR})
    first = await core.submit("a@slow.example", "b@fast.example", "c@Slow.Example", "d@fast.example")
    await core.log.wait_for(first.id, "sent", count=4)
    second = await core.submit("a@slow.example", "b@fast.example")
    await core.log.wait_for(second.id, "sent")
    assert await core.states(second) == [R.QUEUED, R.SENT]
    assert sorted(recipients(server)) == [
        ("a@slow.example", "c@Slow.Example"),
        ("b@fast.example",),
        ("b@fast.example", "d@fast.example"),
    ]
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR)
    await core.log.wait_for(second.id, "sent", count=2)
    assert core.admission.depth == 0


async def test_recipients_may_be_counted_instead_of_messages(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=1, limits=Limits(per_minute=3, unit=LimitUnit.RECIPIENTS))
    await core.submit("a@b.example", "b@b.example")
    await core.log.wait_for("sent", count=2)
    waits = await core.submit("c@b.example", "d@b.example")
    late = await core.submit("e@b.example")  # one slot is open, but nobody overtakes
    await core.fake.until_slept(START + MINUTE)
    assert await core.states(waits) == [R.QUEUED, R.QUEUED]
    core.fake.advance(MINUTE)
    await core.log.wait_for(late.id, "sent")
    assert recipients(server) == [("a@b.example", "b@b.example"), ("c@b.example", "d@b.example"), ("e@b.example",)]


async def test_more_recipients_than_a_limit_ever_lets_through_go_in_parts(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, limits=Limits(per_minute=2, unit=LimitUnit.RECIPIENTS))
    accepted = await core.submit(*(f"{name}@b.example" for name in "abcde"))
    for number in (2, 4):
        await core.log.wait_for(accepted.id, "sent", count=number)
        await core.fake.until_slept(START + number // 2 * MINUTE)
        core.fake.advance(MINUTE)
    await core.log.wait_for(accepted.id, "sent", count=5)
    assert [len(each) for each in recipients(server)] == [2, 2, 1]
    assert core.admission.depth == 0


async def test_a_limit_that_rejects_fails_what_is_over_it(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, limits=Limits(per_hour=1, on_limit=OnLimit.REJECT))
    await core.submit()
    await core.log.wait_for("sent")
    over = await core.submit("a@b.example", "b@b.example")
    await core.log.wait_for(over.id, "failed", count=2)
    detail = await core.detail(over)
    assert {(one.state, one.category, one.attempts) for one in detail.recipients} == {(R.FAILED, "rate", 0)}
    [event, _] = [event for event in await core.store.archive.events(None, over.id) if event.kind == "failed"]
    assert "limit of account acme/main" in str(event.facts["reason"])
    assert len(server.messages) == 1


async def test_a_domains_limit_that_rejects_leaves_the_other_recipients_alone(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.change_tenant(domain_limits={"b.example": Limits(per_hour=1, on_limit=OnLimit.REJECT)})
    await core.submit("a@b.example")
    await core.log.wait_for("sent")
    mixed = await core.submit("a@b.example", "a@c.example")
    await core.log.wait_for(mixed.id, "sent")
    await core.log.wait_for(mixed.id, "failed")
    assert await core.states(mixed) == [R.FAILED, R.SENT]


async def test_a_domain_whose_limit_is_lifted_goes_at_once(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.change_tenant(domain_limits={"b.example": ONE_AN_HOUR})
    for _ in range(3):
        await core.submit("a@b.example")
    await core.log.wait_for("sent")
    await core.fake.until_slept(START + HOUR)
    await core.change_tenant(domain_limits={})
    await core.log.wait_for("sent", count=3)


async def test_a_limit_that_a_domain_is_given_binds_what_waits(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    core.dispatcher.set_active(False)
    for _ in range(3):
        await core.submit("a@b.example", "a@c.example")
    await core.change_tenant(domain_limits={"b.example": ONE_AN_HOUR})
    core.dispatcher.set_active(True)
    await core.log.wait_for("sent", count=4)
    await core.fake.until_slept(START + HOUR)
    assert sorted(recipients(server)) == [("a@b.example",), *[("a@c.example",)] * 3]
    core.fake.advance(HOUR)
    await core.log.wait_for("sent", count=5)


async def test_a_lowered_limit_binds_what_waits(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.change_tenant(limits=Limits(per_hour=5))
    for _ in range(3):
        await core.submit()
    await core.log.wait_for("sent", count=3)
    await core.change_tenant(limits=Limits(per_hour=2))
    waits = await core.submit()
    await core.fake.until_slept(START + HOUR)
    assert await core.states(waits) == [R.QUEUED]
    [standing] = await core.store.limits.standings({f"tenant:{ACME}": Limits(per_hour=2)})
    assert standing.windows == (WindowStanding("hour", 2, 3),)
    core.fake.advance(HOUR)
    await core.log.wait_for(waits.id, "sent")
