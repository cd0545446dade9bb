"""Suppressions on the way of a message: at acceptance, before every later attempt, and put there by hard bounces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from relay.clock import DAY, HOUR, MINUTE
from relay.errors import Conflict
from relay.model.act import Act, WhyNot
from relay.model.control import Controls
from relay.model.message import MessageState, RecipientState
from relay.model.suppression import Suppression, SuppressionReason
from relay.model.tenant import SuppressOn
from tests.support.clock import START
from tests.support.core import ACME, Core, submission
from tests.support.smtp_server import OK, SmtpServer

R = RecipientState
GONE = "550 5.1.1 no such mailbox"


async def suppress(core: Core, *addresses: str, until: int | None = None) -> None:
    now = core.clock.now()
    await core.store.suppressions.put(
        ACME, [Suppression(ACME, one, SuppressionReason.UNSUBSCRIBE, now, until) for one in addresses]
    )


async def test_the_suppressed_are_left_out_and_the_others_sent_to_at_once(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await suppress(core, "bob@b.example", "@c.example")
    accepted = await core.submit("ann@b.example", "Bob@B.example", "cas@c.example")
    assert accepted.suppressed == {"Bob@B.example", "cas@c.example"}
    [received] = await server.wait_for(1)
    assert received.recipients == ("ann@b.example",)
    await core.log.wait_for("sent", accepted.id)
    detail = await core.detail(accepted)
    assert [one.state for one in detail.recipients] == [R.SENT, R.SUPPRESSED, R.SUPPRESSED]
    assert detail.message.state is MessageState.PARTIAL
    events = await core.store.archive.events(ACME, accepted.id)
    told = [
        (event.recipient, event.facts["reason"], event.facts["entry"]) for event in events if event.kind == "suppressed"
    ]
    assert told == [("Bob@B.example", "unsubscribe", "bob@b.example"), ("cas@c.example", "unsubscribe", "@c.example")]
    assert len(core.log.lines("suppressed", accepted.id)) == 2
    assert core.admission.depth == 0


async def test_without_an_entry_all_are_sent_to(core: Core, server: SmtpServer) -> None:
    """The control: only the list makes the difference."""
    await core.add_account(server.port)
    accepted = await core.submit("ann@b.example", "Bob@B.example", "cas@c.example")
    [received] = await server.wait_for(1)
    assert len(received.recipients) == 3
    assert accepted.suppressed == frozenset()


async def test_a_message_to_the_suppressed_alone_ends_at_once(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await suppress(core, "bob@b.example")
    accepted = await core.submit("bob@b.example")
    detail = await core.detail(accepted)
    assert (detail.message.state, detail.recipients[0].state) == (MessageState.FAILED, R.SUPPRESSED)
    assert core.admission.depth == 0
    assert await core.store.queue.open_deliveries() == 0
    await core.submit("ann@b.example")
    assert [one.recipients for one in await server.wait_for(1)] == [("ann@b.example",)]


async def test_an_entry_that_ends_lets_mail_go_again(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await suppress(core, "bob@b.example", until=core.clock.now() + HOUR)
    assert await core.states(await core.submit("bob@b.example")) == [R.SUPPRESSED]
    core.fake.advance(HOUR)
    accepted = await core.submit("bob@b.example")
    await core.log.wait_for("sent", accepted.id)


async def test_an_entry_made_while_the_content_is_read_is_heeded(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.submit("ann@b.example")  # the account has connections

    async def content() -> AsyncIterator[bytes]:
        yield b"Subject: slow\r\n\r\n"
        await suppress(core, "bob@b.example")
        yield b"end\r\n"

    accepted = await core.intake.accept(replace(submission("bob@b.example"), content=content()))
    assert await core.states(accepted) == [R.SUPPRESSED]


async def test_who_is_suppressed_while_his_mail_waits_is_not_sent_to(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    waiting = Controls(not_before=START + HOUR)
    both = await core.submit("ann@b.example", "bob@b.example", controls=waiting)
    alone = await core.submit("bob@b.example", controls=waiting)
    server.to("ann@b.example", "450 4.2.0 later", OK)
    assert core.admission.depth == 2
    await suppress(core, "bob@b.example")
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR)
    await core.log.wait_for("suppressed", both.id)
    await core.log.wait_for("suppressed", alone.id)
    await core.log.wait_for("deferred", both.id)
    assert await core.states(both) == [R.DEFERRED, R.SUPPRESSED]
    assert (await core.detail(alone)).message.state is MessageState.FAILED
    await core.fake.until_slept(START + HOUR + MINUTE)
    core.fake.advance(MINUTE)
    await core.log.wait_for("sent", both.id)
    assert [one.recipients for one in server.messages] == [("ann@b.example",)]
    [first, second] = (await core.detail(both)).recipients
    assert (first.attempts, second.attempts) == (2, 0), "what was not tried does not count"
    assert core.admission.depth == 0


async def test_a_recipient_deferred_before_is_not_tried_again(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.to("bob@b.example", "450 4.2.0 later", OK)
    accepted = await core.submit("bob@b.example")
    await core.log.wait_for("deferred", accepted.id)
    await suppress(core, "@b.example")
    await core.fake.until_slept(START + MINUTE)
    core.fake.advance(MINUTE)
    await core.log.wait_for("suppressed", accepted.id)
    assert server.messages == []
    assert await core.states(accepted) == [R.SUPPRESSED]


async def test_a_hard_bounce_puts_an_address_on_the_list(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.to("Gone@b.example", GONE)
    server.to("full@b.example", "552 5.2.2 mailbox full")
    server.to("spam@b.example", "550 5.7.1 we do not like you")
    server.to("later@b.example", "450 4.1.1 perhaps")
    first = await core.submit("Gone@b.example", "full@b.example", "spam@b.example", "later@b.example")
    await core.log.wait_for("failed", first.id, count=3)
    found = await core.store.suppressions.find(
        ACME, ["gone@b.example", "full@b.example", "spam@b.example", "later@b.example"]
    )
    assert list(found) == ["gone@b.example"]
    entry = found["gone@b.example"]
    assert (entry.reason, entry.until, entry.note) == (SuppressionReason.HARD_BOUNCE, START + 30 * DAY, GONE)
    assert entry.message == first.id
    assert await core.states(await core.submit("gone@B.example")) == [R.SUPPRESSED]


@pytest.mark.parametrize(
    ("settings", "until"),
    [({"suppress_for": DAY}, START + DAY), ({"suppress_for": None}, None)],
    ids=["for a day", "for good"],
)
async def test_how_long_is_the_tenants_to_say(
    core: Core, server: SmtpServer, settings: dict[str, Any], until: int | None
) -> None:
    await core.add_account(server.port)
    await core.change_tenant(**settings)
    server.on("rcpt", GONE)
    accepted = await core.submit("gone@b.example")
    await core.log.wait_for("failed", accepted.id)
    assert (await core.store.suppressions.suppression(ACME, "gone@b.example")).until == until


async def test_a_tenant_may_want_none_of_it(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.change_tenant(suppress_on=SuppressOn.NEVER)
    server.on("rcpt", GONE)
    for _ in range(2):
        accepted = await core.submit("gone@b.example")
        await core.log.wait_for("failed", accepted.id)
    assert await core.store.suppressions.find(ACME, ["gone@b.example"]) == {}


async def test_a_retry_of_what_stands_on_the_list_is_refused_until_it_is_taken_off(
    core: Core, server: SmtpServer
) -> None:
    await core.add_account(server.port)
    server.to("gone@b.example", GONE, OK)
    accepted = await core.submit("gone@b.example")
    await core.log.wait_for("failed", accepted.id)
    with pytest.raises(Conflict, match="list of suppressions") as refused:
        await core.store.archive.act(ACME, accepted.id, Act.RETRY, core.clock.now())
    assert getattr(refused.value, "why", None) is WhyNot.SUPPRESSED
    assert await core.states(accepted) == [R.FAILED]
    await core.store.suppressions.remove(ACME, "gone@b.example")
    await core.store.archive.act(ACME, accepted.id, Act.RETRY, core.clock.now())
    await core.log.wait_for("sent", accepted.id)
