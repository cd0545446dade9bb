"""Suspension under the dispatcher: nothing slips by in memory, and a resumption sends at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from relay.model.control import Controls
from relay.model.message import RecipientState
from tests.support.core import ACME, Core, submission
from tests.support.smtp_server import SmtpServer


async def test_mail_waits_while_suspended_and_goes_when_resumed(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    suspensions = core.store.suspensions
    await suspensions.suspend(ACME, None, 1)
    first = await core.submit(controls=Controls(batch="spring"))
    second = await core.submit()
    assert await core.states(first) == await core.states(second) == [RecipientState.QUEUED]
    assert await suspensions.resume(ACME, "spring", 2) == 1
    await core.log.wait_for("sent", first.id)
    assert await core.states(second) == [RecipientState.QUEUED]
    await suspensions.resume(ACME, None, 3)
    await core.log.wait_for("sent", second.id)
    third = await core.submit(controls=Controls(batch="spring"))
    await core.log.wait_for("sent", third.id)


async def test_a_suspension_while_the_content_is_read_is_heard(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    await core.submit()  # the account has connections

    async def content() -> AsyncIterator[bytes]:
        yield b"Subject: slow\r\n\r\n"
        await core.store.suspensions.suspend(ACME, None, 1)
        yield b"end\r\n"

    accepted = await core.intake.accept(replace(submission(), content=content()))
    assert await core.states(accepted) == [RecipientState.QUEUED]
    await core.store.suspensions.resume(ACME, None, 2)
    await core.log.wait_for("sent", accepted.id)
