"""What goes wrong at the next hop: the account's fault is not the mail's, and a lost reply is neither sent nor failed."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import NoReturn

import pytest

from relay.clock import HOUR, MINUTE
from relay.dispatch.attempt import STORE_PAUSE
from relay.dispatch.breaker import FIRST_PAUSE, FOR_THE_FIRST, LONGEST_PAUSE
from relay.errors import StoreUnavailable
from relay.model.explanation import ReasonKind
from relay.model.health import AccountHealth
from relay.model.message import MessageState, RecipientState
from relay.model.tenant import AccountKind, OnUnknown
from tests.support.clock import START
from tests.support.core import Core
from tests.support.gate import Gate
from tests.support.smtp_server import DROP, OK, Action, SmtpServer

R = RecipientState


def refused_port() -> socket.socket:
    """A port that is ours and refuses connections."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


async def test_a_refused_connection_stops_the_account_and_not_the_mail(core: Core) -> None:
    held = refused_port()
    port = held.getsockname()[1]
    await core.add_account(port)
    accepted = [await core.submit()]
    await core.log.wait_for("account_paused")
    await core.fake.until_slept(START + FIRST_PAUSE)
    accepted += [await core.submit() for _ in range(5)]
    assert len(core.log.lines("deferred")) == 1, "nothing is tried while the breaker is open"
    core.fake.advance(FIRST_PAUSE)
    await core.log.wait_for("deferred", count=2)
    await core.fake.until_slept(START + 3 * FIRST_PAUSE)
    assert len(core.log.lines("deferred")) == 2, "one goes as a probe"
    held.close()
    async with SmtpServer(port=port) as server:
        core.fake.advance(2 * FIRST_PAUSE)
        await core.log.wait_for("sent", count=6)
        assert len(server.messages) == 6
    assert len(core.log.lines("account_resumed")) == 1
    for one in accepted:
        assert [(r.state, r.attempts) for r in (await core.detail(one)).recipients] == [(R.SENT, 1)]


async def test_a_single_message_goes_as_soon_as_its_account_is_mended(core: Core, server: SmtpServer) -> None:
    """Its account's pause may be minutes long by then."""
    held = refused_port()
    account = await core.add_account(held.getsockname()[1])
    accepted = await core.submit()
    await core.log.wait_for("account_paused")
    [waiting] = await core.explainer.explain(None, accepted.id)
    assert waiting.next_attempt_at == START + FIRST_PAUSE
    await core.store.directory.change_account(account.tenant, account.id, lambda one: replace(one, port=server.port))
    await core.log.wait_for(accepted.id, "sent")
    assert core.clock.now() == START
    held.close()


async def test_a_single_message_goes_as_soon_as_its_account_was_found_in_order(core: Core) -> None:
    held = refused_port()
    await core.add_account(port := held.getsockname()[1])
    accepted = await core.submit()
    await core.log.wait_for("account_paused")
    held.close()
    async with SmtpServer(port=port) as server:
        await core.store.directory.note_mended()
        await core.log.wait_for(accepted.id, "sent")
        assert len(server.messages) == 1
    assert core.clock.now() == START


async def test_what_another_instance_found_holds_here(core: Core, server: SmtpServer) -> None:
    """It probes first; we do if nothing is heard of that, and all goes as soon as it says so."""
    account = await core.add_account(server.port)
    core.dispatcher.hear_of_account(AccountHealth(account.key, 1, START + MINUTE, "no login"))
    first = await core.submit()
    [waiting] = await core.explainer.explain(None, first.id)
    assert [(one.kind, one.until) for one in waiting.reasons] == [(ReasonKind.PAUSED, START + MINUTE + FOR_THE_FIRST)]
    await core.fake.until_slept(START + MINUTE + FOR_THE_FIRST)
    assert server.sessions == []
    core.dispatcher.hear_of_account(AccountHealth(account.key))
    await core.log.wait_for(first.id, "sent")
    core.dispatcher.hear_of_account(AccountHealth(account.key, 1, START + MINUTE, "no login"))
    second = await core.submit()
    await core.fake.until_slept(START + MINUTE + FOR_THE_FIRST)
    core.fake.advance(MINUTE + FOR_THE_FIRST)
    await core.log.wait_for(second.id, "sent")
    assert len(core.log.lines("account_resumed")) == 1


async def test_the_loop_lives_while_a_probe_hangs_and_mail_waits(core: Core, server: SmtpServer) -> None:
    """A breaker whose time has come, something due, and an attempt still under way: nothing to do but wait."""
    await core.add_account(server.port)
    server.on("connect", "421 4.3.2 not now")
    await core.submit()
    await core.log.wait_for("account_paused")
    gate = Gate()
    server.on("connect", Action("220 receiver.test ESMTP", when=gate))
    waiting = [await core.submit() for _ in range(3)]
    await core.fake.until_slept(START + FIRST_PAUSE)
    core.fake.advance(FIRST_PAUSE)
    await gate.reached()
    waiting.append(await core.submit())
    core.fake.advance(LONGEST_PAUSE)
    waiting.append(await core.submit())
    assert core.dispatcher.in_flight == 1
    gate.set()
    await core.log.wait_for("sent", count=6)


async def test_queued_mail_follows_the_account_that_its_name_stands_for_now(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, tenant="*")
    core.dispatcher.set_active(False)
    accepted = await core.submit()
    own = await core.add_account(server.port, "main")  # from now on the tenant's own of that name is the one
    core.dispatcher.set_active(True)
    [line] = await core.log.wait_for(accepted.id, "sent")
    assert f"account={own.key}" in line.split()
    assert [recipient.attempts for recipient in (await core.detail(accepted)).recipients] == [1]


async def test_a_capture_account_keeps_everything(core: Core) -> None:
    await core.add_account(25, kind=AccountKind.CAPTURE)
    accepted = await core.submit("bob@b.example", "cyd@b.example")
    await core.log.wait_for(accepted.id, "captured", count=2)
    assert (await core.detail(accepted)).message.state is MessageState.CAPTURED


async def test_a_reply_that_never_came_is_unknown_and_tried_again(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.on("dot", DROP, OK)
    accepted = await core.submit()
    await core.log.wait_for(accepted.id, "unknown")
    assert await core.states(accepted) == [R.UNKNOWN]
    await core.fake.until_slept(START + MINUTE)
    core.fake.advance(MINUTE)
    await core.log.wait_for(accepted.id, "sent")
    first, second = server.messages
    assert first.content == second.content, "the octets and the Message-ID never change between attempts"


async def test_a_reply_that_never_came_holds_the_mail_where_the_account_says_so(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, on_unknown=OnUnknown.HOLD)
    server.on("dot", DROP, OK)
    server.to("later@b.example", "450 4.2.0 later", OK)
    alone = await core.submit()
    await core.log.wait_for(alone.id, "unknown")
    server.on("dot", DROP, OK)
    mixed = await core.submit("bob@b.example", "later@b.example")
    await core.log.wait_for(mixed.id, "unknown")
    assert await core.states(mixed) == [R.HELD, R.DEFERRED]
    await core.fake.until_slept(START + MINUTE)
    core.fake.advance(HOUR)
    await core.log.wait_for(mixed.id, "sent")
    assert await core.states(mixed) == [R.HELD, R.SENT]
    assert await core.states(alone) == [R.UNKNOWN]
    assert [message.recipients for message in server.messages] == [
        ("bob@b.example",),
        ("bob@b.example",),
        ("later@b.example",),
    ]


async def test_too_many_recipients_for_the_server_go_in_several_transactions_at_once(
    core: Core, server: SmtpServer
) -> None:
    await core.add_account(server.port)
    for n in (2, 3):
        server.to(f"r{n}@b.example", "452 4.5.3 too many recipients", OK)
    accepted = await core.submit(*(f"r{n}@b.example" for n in range(4)))
    await core.log.wait_for(accepted.id, "sent", count=4)
    assert [message.recipients for message in server.messages] == [
        ("r0@b.example", "r1@b.example"),
        ("r2@b.example", "r3@b.example"),
    ]
    assert [recipient.attempts for recipient in (await core.detail(accepted)).recipients] == [1] * 4


def away(*_: object, **__: object) -> NoReturn:
    raise StoreUnavailable("the store is away")


async def test_content_that_cannot_be_read_now_puts_the_mail_back(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when its lease has run out; no attempt is counted."""
    await core.add_account(server.port)
    with monkeypatch.context() as patched:
        patched.setattr(core.store.contents, "read", away)
        accepted = await core.submit(content=b"Subject: large\r\n\r\n" + b"x" * 300_000)
        await core.fake.until_slept(START + STORE_PAUSE)
    core.fake.advance(STORE_PAUSE)
    await core.log.wait_for(accepted.id, "sent")
    assert [(r.state, r.attempts) for r in (await core.detail(accepted)).recipients] == [(R.SENT, 1)]
    assert len(server.messages) == 1


async def test_what_a_server_said_is_kept_though_the_store_is_away(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is looked up between the reply and its settlement."""
    await core.add_account(server.port)
    server.to("later@b.example", "450 4.2.0 busy")
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    accepted = await core.submit("now@b.example", "later@b.example")
    await gate.reached()
    for name in ("tenant", "account", "owned_account"):
        monkeypatch.setattr(core.store.directory, name, away)
    gate.set()
    await core.log.wait_for(accepted.id, "sent")
    await core.log.wait_for(accepted.id, "deferred")
    assert await core.states(accepted) == [R.SENT, R.DEFERRED]
