"""Connections kept between mails: when they are used again, when they go, and whose they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from relay.clock import SECOND
from relay.contracts.content import ContentStore
from relay.delivery.connection import Connector
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.timeouts import Timeouts
from relay.model.delivery import Category, Verdict
from tests.delivery.post import Contents, account_at, make_delivery, verdicts
from tests.support.clock import FakeClock
from tests.support.smtp_server import DROP, Action, Scripted, SmtpServer, Step


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def pool(clock: FakeClock, trusting: ssl.SSLContext, timeouts: Timeouts) -> AsyncIterator[Pool]:
    connector = Connector(ehlo_name="relay.test", tls=trusting, timeouts=timeouts)
    pool = Pool(connector, clock, connection_ttl=300 * SECOND, idle_ttl=60 * SECOND)
    yield pool
    await pool.close()
    assert (pool.idle_count, pool.open_count) == (0, 0)


@pytest.fixture
def courier(pool: Pool, contents: Contents, clock: FakeClock) -> Courier:
    return Courier(pool, cast("ContentStore", contents), clock)


async def _ended(server: SmtpServer, number: int) -> None:
    async with asyncio.timeout(20):
        await server.sessions[number - 1].ended.wait()


async def test_no_more_mails_than_allowed(courier: Courier, server: SmtpServer) -> None:
    account = account_at(server.port, max_messages_per_connection=2)
    attempts = [await courier.deliver(make_delivery(), account) for _ in range(5)]

    assert [attempt.reused for attempt in attempts] == [False, True, False, True, False]
    await _ended(server, 2)
    assert server.sessions[0].commands[-1] == "QUIT"


async def test_idle_too_long(courier: Courier, pool: Pool, server: SmtpServer, clock: FakeClock) -> None:
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    await clock.until_slept(clock.now() + 60 * SECOND)
    clock.advance(60 * SECOND)
    await _ended(server, 1)

    attempt = await courier.deliver(make_delivery(), account)

    assert server.sessions[0].commands[-1] == "QUIT"
    assert not attempt.reused


async def test_grown_too_old_in_use(courier: Courier, server: SmtpServer, clock: FakeClock) -> None:
    account = account_at(server.port)
    reused = []
    for _ in range(8):
        reused.append((await courier.deliver(make_delivery(), account)).reused)
        clock.advance(50 * SECOND)

    assert reused == [False, True, True, True, True, True, True, False]


async def test_the_last_one_used_is_used_first(courier: Courier, pool: Pool, server: SmtpServer) -> None:
    account = account_at(server.port)
    gate = asyncio.Event()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    both = [asyncio.create_task(courier.deliver(make_delivery(number=number), account)) for number in (1, 2)]
    await server.wait_for(2)
    gate.set()
    await asyncio.gather(*both)
    assert pool.idle_count == 2

    for number in range(3, 8):
        await courier.deliver(make_delivery(number=number), account)

    assert len({message.connection for message in server.messages[2:]}) == 1


async def test_closed_by_the_server_while_idle(courier: Courier, pool: Pool, server: SmtpServer) -> None:
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    server.drop_connections()
    await _ended(server, 1)

    attempt = await courier.deliver(make_delivery(), account)

    assert verdicts(attempt) == [Verdict.SENT]
    assert not attempt.reused
    assert pool.open_count == 1


@pytest.mark.parametrize("end", [DROP, "421 4.4.2 idle too long", Action("421 4.4.2 idle too long", drop=True)])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_dead_when_it_is_used_again(
    courier: Courier, server: SmtpServer, end: Scripted, pipelining: bool
) -> None:
    """It looked alive; the first command found it dead: within the same attempt, on a fresh one."""
    server.extensions = ("PIPELINING",) if pipelining else ()
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    server.on("mail", end, "250 2.1.0 ok")

    attempt = await courier.deliver(make_delivery(), account)

    assert verdicts(attempt) == [Verdict.SENT]
    assert not attempt.reused
    assert len(server.sessions) == 2


@pytest.mark.parametrize(("end", "category"), [(DROP, Category.CONNECTION), ("421 4.7.0 too much", Category.RATE)])
async def test_a_fresh_one_that_dies_is_not_tried_again(
    courier: Courier, server: SmtpServer, end: Scripted, category: Category
) -> None:
    server.on("mail", end)

    attempt = await courier.deliver(make_delivery(), account_at(server.port))

    assert verdicts(attempt) == [Verdict.DEFERRED]
    assert attempt.outcomes[0].category is category
    assert len(server.sessions) == 1


async def test_dead_after_mail_is_not_tried_again(courier: Courier, server: SmtpServer) -> None:
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    server.on("rcpt", DROP)

    attempt = await courier.deliver(make_delivery(), account)

    assert verdicts(attempt) == [Verdict.DEFERRED]
    assert len(server.sessions) == 1


async def test_gone_server_after_reuse_is_the_accounts_fault(courier: Courier, server: SmtpServer) -> None:
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    server.on("mail", DROP)
    server.on("connect", "421 4.3.2 going down")

    attempt = await courier.deliver(make_delivery(), account)

    assert attempt.fault is not None
    assert attempt.outcomes == ()


async def test_a_changed_account_never_meets_its_old_connections(
    courier: Courier, pool: Pool, server: SmtpServer
) -> None:
    server.users, server.auth_required = {"relay": "s3cret"}, True
    old = account_at(server.port, user="relay", password="s3cret")
    new = account_at(server.port, user="relay", password="wrong", version=2)
    await courier.deliver(make_delivery(), old)

    attempt = await courier.deliver(make_delivery(), new)

    assert attempt.fault is not None
    assert attempt.fault.category is Category.AUTH
    await _ended(server, 1)
    assert pool.idle_count == 0


async def test_an_account_read_anew_keeps_its_connections(courier: Courier, server: SmtpServer) -> None:
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)

    attempt = await courier.deliver(make_delivery(), replace(account, max_connections=5))

    assert attempt.reused


async def test_one_given_back_after_the_change_goes(courier: Courier, pool: Pool, server: SmtpServer) -> None:
    gate = asyncio.Event()
    server.on("dot", Action("250 2.0.0 ok", when=gate), "250 2.0.0 ok")
    slow = asyncio.create_task(courier.deliver(make_delivery(number=1), account_at(server.port)))
    await server.wait_for(1)
    await courier.deliver(make_delivery(number=2), account_at(server.port, version=2))
    gate.set()

    assert verdicts(await slow) == [Verdict.SENT]
    await _ended(server, 1)
    assert pool.idle_count == 1


async def test_tenants_share_nothing(courier: Courier, server: SmtpServer) -> None:
    server.users, server.auth_required = {"relay": "s3cret"}, True
    await courier.deliver(make_delivery(), account_at(server.port, user="relay", password="s3cret"))

    attempt = await courier.deliver(
        make_delivery(), account_at(server.port, tenant="other", user="relay", password="guess")
    )

    assert attempt.fault is not None
    assert len(server.sessions) == 2


async def test_close_says_goodbye(courier: Courier, server: SmtpServer) -> None:
    await courier.deliver(make_delivery(), account_at(server.port))

    await courier.close()

    await _ended(server, 1)
    assert server.sessions[0].commands[-1] == "QUIT"


async def test_close_does_not_wait_for_a_mute_server(courier: Courier, pool: Pool, server: SmtpServer) -> None:
    server.on("quit", Action(when=asyncio.Event()))
    await courier.deliver(make_delivery(), account_at(server.port))

    async with asyncio.timeout(20):
        await courier.close()

    assert pool.open_count == 0


@pytest.mark.parametrize("step", ["rcpt", "data", "dot"])
async def test_421_ends_the_connection(courier: Courier, server: SmtpServer, step: Step) -> None:
    server.on(step, "421 4.3.2 closing", *(["354 go"] if step == "data" else ["250 2.0.0 ok"]))
    account = account_at(server.port)

    deferred = await courier.deliver(make_delivery(), account)
    sent = await courier.deliver(make_delivery(), account)

    assert verdicts(deferred) == [Verdict.DEFERRED]
    assert verdicts(sent) == [Verdict.SENT]
    assert not sent.reused


async def test_reset_that_fails_ends_the_connection(courier: Courier, server: SmtpServer) -> None:
    server.to("no@receiver.test", "550 5.1.1 no")
    server.on("rset", "500 what")
    account = account_at(server.port)
    refused = await courier.deliver(make_delivery("no@receiver.test"), account)

    sent = await courier.deliver(make_delivery("yes@receiver.test"), account)

    assert verdicts(refused) == [Verdict.FAILED]
    assert not sent.reused
