"""A disabled account: what waits for it waits and says so, nothing new comes in, and it goes on when it is enabled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.clock import HOUR
from relay.dispatch.breaker import FIRST_PAUSE
from relay.errors import Refusal, Rejected
from relay.model.control import Controls
from relay.model.explanation import ReasonKind
from tests.support.clock import START
from tests.support.core import ACME, Core
from tests.support.smtp_server import SmtpServer


async def test_mail_of_a_disabled_account_waits_until_it_is_enabled(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    waiting = await core.submit(controls=Controls(not_before=START + HOUR))
    await core.store.directory.change_account(ACME, "main", lambda account: replace(account, enabled=False))
    with pytest.raises(Rejected) as refused:
        await core.submit()
    assert refused.value.refusal is Refusal.ACCOUNT_DISABLED
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR)
    [line] = await core.log.wait_for(waiting.id, "deferred")
    assert "is disabled" in line
    [explained] = await core.explainer.explain(ACME, waiting.id)
    assert ReasonKind.NO_ACCOUNT in {reason.kind for reason in explained.reasons}
    await core.store.directory.change_account(ACME, "main", lambda account: replace(account, enabled=True))
    core.fake.advance(FIRST_PAUSE)
    await core.log.wait_for(waiting.id, "sent")
    detail = await core.detail(waiting)
    assert [one.attempts for one in detail.recipients] == [1]
