"""The courier against a scripted server: what goes over the wire, what comes back, what is kept."""

from __future__ import annotations

import pytest

from relay.delivery.courier import Courier
from relay.model.delivery import Verdict
from relay.model.tenant import AccountKind
from tests.delivery.post import CONTENT, Contents, account_at, make_delivery, verdicts
from tests.support.smtp_server import EXTENSIONS, SmtpServer

STEPWISE = tuple(name for name in EXTENSIONS if name != "PIPELINING")


@pytest.fixture(params=["pipelined", "stepwise"])
def server_kind(request: pytest.FixtureRequest, server: SmtpServer) -> SmtpServer:
    if request.param == "stepwise":
        server.extensions = STEPWISE
    return server


async def test_one_mail_arrives_as_it_is(courier: Courier, server_kind: SmtpServer) -> None:
    attempt = await courier.deliver(make_delivery("b@receiver.test", "c@receiver.test"), account_at(server_kind.port))

    [message] = server_kind.messages
    assert message.content == CONTENT
    assert message.sender == "a@sender.test"
    assert message.recipients == ("b@receiver.test", "c@receiver.test")
    assert message.parameters == f"SIZE={len(CONTENT)}"
    assert verdicts(attempt) == [Verdict.SENT, Verdict.SENT]
    assert str(attempt.outcomes[0].reply) == "250 2.0.0 queued"
    assert attempt.fault is None
    assert attempt.next_hop == f"localhost:{server_kind.port}"


async def test_three_recipients_three_fates(courier: Courier, server_kind: SmtpServer) -> None:
    server_kind.to("no@receiver.test", "550 5.1.1 no such mailbox")
    server_kind.to("later@receiver.test", "450 4.2.1 greylisted")

    attempt = await courier.deliver(
        make_delivery("no@receiver.test", "yes@receiver.test", "later@receiver.test"), account_at(server_kind.port)
    )

    assert verdicts(attempt) == [Verdict.FAILED, Verdict.SENT, Verdict.DEFERRED]
    assert [outcome.reply.code for outcome in attempt.outcomes if outcome.reply] == [550, 250, 450]
    assert server_kind.messages[0].recipients == ("yes@receiver.test",)


async def test_connection_is_used_again(courier: Courier, server_kind: SmtpServer) -> None:
    account = account_at(server_kind.port)
    first = await courier.deliver(make_delivery(), account)
    second = await courier.deliver(make_delivery(), account)

    assert (first.reused, second.reused) == (False, True)
    assert len(server_kind.sessions) == 1


async def test_all_refused_keeps_the_connection(courier: Courier, server_kind: SmtpServer) -> None:
    server_kind.to("no@receiver.test", "550 5.1.1 no such mailbox")
    account = account_at(server_kind.port)

    refused = await courier.deliver(make_delivery("no@receiver.test"), account)
    sent = await courier.deliver(make_delivery("yes@receiver.test"), account)

    assert verdicts(refused) == [Verdict.FAILED]
    assert verdicts(sent) == [Verdict.SENT]
    assert sent.reused


async def test_null_reverse_path(courier: Courier, server: SmtpServer) -> None:
    await courier.deliver(make_delivery(sender=""), account_at(server.port))

    assert any(command.startswith("MAIL FROM:<> ") for command in server.sessions[0].commands)


async def test_large_content_streams(courier: Courier, server_kind: SmtpServer, contents: Contents) -> None:
    contents.pieces = [b"Subject: big\r\n\r\n", b".x" * 300_000, b"\r", b"\n.\r", b"\n.", b".end\r\n"]
    whole = b"".join(contents.pieces)

    attempt = await courier.deliver(make_delivery(content=None, size=len(whole)), account_at(server_kind.port))

    assert verdicts(attempt) == [Verdict.SENT]
    assert server_kind.messages[0].content == whole


async def test_capture_sends_nothing(courier: Courier, server: SmtpServer) -> None:
    attempt = await courier.deliver(make_delivery(), account_at(server.port, kind=AccountKind.CAPTURE))

    assert verdicts(attempt) == [Verdict.CAPTURED]
    assert attempt.next_hop == "capture"
    assert server.sessions == []
