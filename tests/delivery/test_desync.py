"""A server that says more than it was asked: no verdict comes from it, and the connection carries no other mail."""

from __future__ import annotations

import asyncio

import pytest

from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.model.delivery import Category, Phase, Verdict
from tests.delivery.post import account_at, make_delivery, verdicts
from tests.support.smtp_server import EXTENSIONS, OK, Scripted, SmtpServer


@pytest.fixture(params=["pipelined", "stepwise"])
def server_kind(request: pytest.FixtureRequest, server: SmtpServer) -> SmtpServer:
    if request.param == "stepwise":
        server.extensions = tuple(name for name in EXTENSIONS if name != "PIPELINING")
    return server


@pytest.mark.parametrize("glued", [b"250 2.0.0 stale\r\n", b"2", b"554 no\r\n", b"noise"])
async def test_glued_to_354(courier: Courier, server_kind: SmtpServer, glued: bytes) -> None:
    server_kind.on("data", b"354 go ahead\r\n" + glued)
    server_kind.on("dot", "554 5.7.1 the true answer")

    attempt = await courier.deliver(make_delivery(), account_at(server_kind.port))

    assert verdicts(attempt) == [Verdict.DEFERRED]
    assert attempt.outcomes[0].category is Category.PROTOCOL
    assert server_kind.messages == []


async def test_glued_to_354_after_a_refusal(courier: Courier, server: SmtpServer) -> None:
    """One reply too many may have come before the refusal as well: then it was another recipient's."""
    server.to("no@receiver.test", "550 5.1.1 no")
    server.on("data", b"354 go ahead\r\n250 stale\r\n")

    attempt = await courier.deliver(make_delivery("no@receiver.test", "yes@receiver.test"), account_at(server.port))

    assert verdicts(attempt) == [Verdict.DEFERRED, Verdict.DEFERRED]


@pytest.mark.parametrize("extra", [b"250 stale\r\n250 2.1.0 ok\r\n", b"550 stale\r\n250 2.1.0 ok\r\n"])
async def test_one_reply_too_many_before_the_envelope(courier: Courier, server: SmtpServer, extra: bytes) -> None:
    server.on("mail", extra)

    attempt = await courier.deliver(make_delivery("a@receiver.test", "b@receiver.test"), account_at(server.port))

    assert verdicts(attempt) == [Verdict.DEFERRED, Verdict.DEFERRED]
    assert server.messages == []


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(b"250 queued\r\n554 spam\r\n", Verdict.SENT), (b"554 spam\r\n250 queued\r\n", Verdict.FAILED)],
)
async def test_glued_to_the_final_reply(
    courier: Courier, server_kind: SmtpServer, answer: bytes, verdict: Verdict
) -> None:
    server_kind.on("dot", answer, OK)
    account = account_at(server_kind.port)

    first = await courier.deliver(make_delivery(), account)
    second = await courier.deliver(make_delivery(), account)

    assert verdicts(first) == [verdict]
    assert verdicts(second) == [Verdict.SENT]
    assert not second.reused


async def test_said_while_idle(courier: Courier, pool: Pool, server: SmtpServer) -> None:
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    server.inject(b"250 2.0.0 stale\r\n")
    async with asyncio.timeout(20):
        await server.sessions[0].ended.wait()
    assert pool.idle_count == 0

    attempt = await courier.deliver(make_delivery(), account)

    assert verdicts(attempt) == [Verdict.SENT]
    assert not attempt.reused


@pytest.mark.parametrize(
    ("early", "verdict"),
    [
        ("552 5.3.4 too big", Verdict.FAILED),
        (b"552 5.3.4 too big\r\n250 2.0.0 fine\r\n", Verdict.DEFERRED),
        ("250 2.0.0 fine", Verdict.DEFERRED),
        ("354 more", Verdict.DEFERRED),
        (b"x", Verdict.DEFERRED),
    ],
)
async def test_said_in_the_middle_of_the_content(
    courier: Courier, server_kind: SmtpServer, early: Scripted, verdict: Verdict
) -> None:
    """One refusal is about the content, which is not sent to its end then; anything else means nothing."""
    server_kind.on("body", early)
    content = b"x" * 70 + b"\r\n"

    attempt = await courier.deliver(make_delivery(content=content * 400_000), account_at(server_kind.port))

    assert verdicts(attempt) == [verdict]
    assert server_kind.messages == []


async def test_data_goes_ahead_without_recipients(courier: Courier, server: SmtpServer) -> None:
    """RFC 2920 §3.1: a lone dot ends it, and the refusals stand."""
    server.to("no@receiver.test", "550 5.1.1 no")
    server.on("data", "354 go ahead")
    account = account_at(server.port)

    refused = await courier.deliver(make_delivery("no@receiver.test"), account)
    sent = await courier.deliver(make_delivery("yes@receiver.test"), account)

    assert verdicts(refused) == [Verdict.FAILED]
    assert verdicts(sent) == [Verdict.SENT]
    assert sent.reused
    assert len(server.messages) == 1


async def test_an_empty_mail_that_is_taken_ends_the_connection(courier: Courier, server: SmtpServer) -> None:
    server.to("no@receiver.test", "450 4.2.0 later")
    server.on("data", "354 go ahead")
    server.on("dot", OK)
    account = account_at(server.port)

    deferred = await courier.deliver(make_delivery("no@receiver.test"), account)
    sent = await courier.deliver(make_delivery("yes@receiver.test"), account)

    assert verdicts(deferred) == [Verdict.DEFERRED]
    assert verdicts(sent) == [Verdict.SENT]
    assert not sent.reused


@pytest.mark.parametrize("surplus", ["\r\n250 2.0.0 what nobody asked for", "\r\n25"])
async def test_more_than_the_answer_to_ehlo_ends_it_before_any_mail(
    courier: Courier, server: SmtpServer, surplus: str
) -> None:
    """The library would throw it away, and the next replies would answer other commands than they seem to."""
    server.on(
        "ehlo", b"250-receiver.test\r\n250 PIPELINING" + surplus.encode() + (b"\r\n" if "nobody" in surplus else b"")
    )

    attempt = await courier.deliver(make_delivery(), account_at(server.port, host="127.0.0.1"))

    assert attempt.fault is not None
    assert (attempt.fault.category, attempt.fault.phase) == (Category.PROTOCOL, Phase.EHLO)
    assert server.messages == []
