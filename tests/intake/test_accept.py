"""Intake as a whole, with the real store, dispatcher and courier: what a client hands in is what the next hop gets."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.clock import HOUR, MINUTE
from relay.contracts.archive import MessageFilter
from relay.contracts.queue import Accepted
from relay.errors import Refusal, Rejected
from relay.intake.accept import IntakeSettings
from relay.intake.submission import Submission
from relay.model.control import Controls
from relay.model.message import MessageState, Priority
from relay.model.tenant import OnUnknown
from tests.support.clock import START, FakeClock
from tests.support.core import Core, running_core, submission
from tests.support.smtp_server import OK, SmtpServer

BODY = b"Hello,\r\n.\r\n..dots\r\n\r\n\xc3\xa9 and \xff\x00 as they are\r\n"
DATE = b"Date: Thu, 1 Jan 2026 01:00:00 +0100\r\n"
TRACE = (
    "Received: from erp.local ([192.0.2.1])\r\n\tby relay.test with ESMTPA id {id};"
    "\r\n\tThu, 01 Jan 2026 00:00:00 +0000\r\nX-Stagepost-ID: {id}\r\n"
)
MAX_SIZE = 300_000


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def core(tmp_path: Path, server: SmtpServer) -> AsyncIterator[Core]:
    settings = IntakeSettings("relay.test", max_size=MAX_SIZE, max_recipients=3)
    async with running_core(tmp_path, clock=FakeClock(), settings=settings) as core:
        await core.add_account(server.port)
        yield core


async def refusal_of(core: Core, handed_in: Submission) -> Rejected:
    """How it is refused; and that nothing of it stays."""
    with pytest.raises(Rejected) as caught:
        await core.intake.accept(handed_in)
    assert core.dispatcher.in_flight == 0
    return caught.value


# -- what the next hop gets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "added", "passed"),
    [
        (DATE + b"Message-ID: <1@erp.local>\r\n\r\n" + BODY, "", None),
        (DATE + b"Message-ID: <1@erp.local>\r\nX-Mailer: x\r\n folded\r\n\r\n", "", None),
        (DATE + b"Subject: x\r\n\r\n" + BODY, "Message-ID: <{id}@relay.test>\r\n", None),
        (
            b"Subject: x\r\n\r\n" + BODY,
            "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{id}@relay.test>\r\n",
            None,
        ),
        (
            b"no header at all\r\n",
            "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{id}@relay.test>\r\n",
            b"\r\nno header at all\r\n",
        ),
        (b"", "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{id}@relay.test>\r\n", b"\r\n"),
        (
            b"X-Stagepost-Priority: low\r\n" + DATE + b"x-stagepost-id: 77\r\nMessage-ID: <1@b>\r\n"
            b"X-Stagepost-Tags: a,\r\n b\r\n\r\n" + BODY,
            "",
            DATE + b"Message-ID: <1@b>\r\n\r\n" + BODY,
        ),
    ],
)
async def test_the_next_hop_gets_the_same_octets_and_what_we_add(
    core: Core, server: SmtpServer, content: bytes, added: str, passed: bytes | None
) -> None:
    accepted = await core.submit(content=(content[i : i + 7] for i in range(0, len(content), 7)))
    [received] = await server.wait_for(1)
    expected = (TRACE + added).format(id=accepted.id).encode() + (content if passed is None else passed)
    assert received.content == expected
    message = (await core.detail(accepted)).message
    assert message.size == len(expected)
    assert message.message_id in expected.decode("utf-8", "replace")
    assert message.eight_bit == (not expected.isascii())


@pytest.mark.parametrize("size", [60_000, 65_536, 65_537, 200_000, 299_000])
async def test_content_of_any_size_passes_whole(core: Core, server: SmtpServer, size: int) -> None:
    body = bytes(range(32, 127)) * (size // 95)
    lines = b"\r\n".join(body[i : i + 700] for i in range(0, len(body), 700)) + b"\r\n"
    content = DATE + b"Message-ID: <1@b>\r\n\r\n" + lines
    await core.submit(content=(content[i : i + 9_999] for i in range(0, len(content), 9_999)))
    [received] = await server.wait_for(1)
    assert received.content.endswith(content)
    assert hashlib.sha256(received.content).hexdigest() == received.sha256


async def test_the_facts_of_a_message(core: Core, server: SmtpServer) -> None:
    core.dispatcher.set_active(False)
    content = (
        b"X-Stagepost-Priority: 0\r\nX-Stagepost-Batch: spring\r\nX-Stagepost-Send-At: +1h\r\nX-Stagepost-Expires: +2h\r\n"
        b'X-Stagepost-Client-Id: 4711\r\nX-Stagepost-Tags: a b\r\nX-Stagepost-Metadata: {"k": 1}\r\nSubject: x\r\n\r\nx\r\n'
    )
    accepted = await core.submit("bob@b.example", content=content)
    message = (await core.detail(accepted)).message
    assert (message.priority, message.batch, message.client_id) == (Priority.IMMEDIATE, "spring", "4711")
    assert (message.not_before, message.expires_at) == (START + HOUR, START + 2 * HOUR)
    assert (message.tags, message.metadata, message.account) == (("a", "b"), '{"k":1}', "main")
    assert message.message_id == f"<{accepted.id}@relay.test>"
    [line] = await core.log.wait_for(accepted.id, "accepted")
    assert {"tenant=acme", "from=ann@acme.example", "recipients=1", "by=ann", "batch=spring"} <= set(line.split())
    [event] = await core.store.archive.events("acme", accepted.id)
    assert event.facts["client_id"] == "4711"


async def test_what_is_accepted_is_counted(core: Core, server: SmtpServer) -> None:
    accepted = await core.submit("a@b.example", "c@b.example")
    await core.log.wait_for(accepted.id, "sent", count=2)
    sample = core.metrics.registry.get_sample_value
    assert sample("stagepost_messages_accepted_total", {"source": "smtp"}) == 1
    assert sample("stagepost_recipients_accepted_total") == 2
    assert sample("stagepost_events_total", {"kind": "accepted"}) == 1
    assert sample("stagepost_events_total", {"kind": "sent"}) == 2
    assert sample("stagepost_delivery_seconds_count") == 2


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handed_in", "refusal", "code"),
    [
        (submission(tenant="nobody"), Refusal.AUTH_REQUIRED, 530),
        (submission(controls=Controls(account="other")), Refusal.NO_ACCOUNT, 550),
        (submission(*"abcd"), Refusal.TOO_MANY_RECIPIENTS, 452),
        (submission(content=b"Received: x\r\n" * 50 + b"\r\n"), Refusal.LOOP, 554),
        (submission(content=b"X-Stagepost-Priority: 9\r\n\r\n"), Refusal.BAD_CONTENT, 550),
        (submission(content=b"A: " + b"x" * 280_000), Refusal.BAD_CONTENT, 550),
    ],
)
async def test_a_refused_message_leaves_nothing(
    core: Core, tmp_path: Path, handed_in: Submission, refusal: Refusal, code: int
) -> None:
    rejected = await refusal_of(core, handed_in)
    assert (rejected.refusal, rejected.reply.code) == (refusal, code)
    await _nothing_is_kept(core, tmp_path)


async def _nothing_is_kept(core: Core, directory: Path) -> None:
    assert list(await core.store.archive.list_messages(MessageFilter())) == []
    assert [path for path in (directory / "relay.db.spool").rglob("*") if path.is_file()] == []
    assert core.admission.depth == 0


@pytest.mark.parametrize("fields", [b"Subject: x\r\n\r\n", DATE + b"Message-ID: <1@b>\r\n\r\n"])
@pytest.mark.parametrize("step", [1000, MAX_SIZE + 1])
async def test_the_size_limit_is_that_of_the_client_s_own_octets(
    core: Core, server: SmtpServer, tmp_path: Path, fields: bytes, step: int
) -> None:
    def content(size: int) -> Iterator[bytes]:
        whole = fields + b"x" * (size - len(fields))
        return (whole[i : i + step] for i in range(0, size, step))

    rejected = await refusal_of(core, submission(content=content(MAX_SIZE + 1)))
    assert str(rejected.reply) == f"552 5.3.4 message exceeds the size limit of {MAX_SIZE} octets"
    await _nothing_is_kept(core, tmp_path)
    await core.submit(content=content(MAX_SIZE))
    await server.wait_for(1)


async def test_a_client_that_goes_away_leaves_nothing(core: Core, tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"Subject: x\r\n\r\n" + b"x" * 100_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await core.submit(content=cut())
    await _nothing_is_kept(core, tmp_path)


async def test_a_client_id_is_taken_once(core: Core, server: SmtpServer) -> None:
    first = await core.submit(controls=Controls(client_id="4711"))
    rejected = await refusal_of_after(core, first.id, submission(controls=Controls(client_id="4711")))
    assert rejected.refusal is Refusal.DUPLICATE_CLIENT_ID
    assert (rejected.path, rejected.refusal.http_status) == ("client_id", 409)


async def refusal_of_after(core: Core, first: str, handed_in: Submission) -> Rejected:
    await core.log.wait_for(first, "sent")
    return await refusal_of(core, handed_in)


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_idempotency_key_brings_the_same_answer_and_no_second_message(
    core: Core, server: SmtpServer, tmp_path: Path, size: int
) -> None:
    content = b"X-Stagepost-Idempotency-Key: k\r\nSubject: x\r\n\r\n" + b"x" * size
    first = await core.submit(content=content)
    await core.log.wait_for(first.id, "sent")
    spooled = sorted(path for path in (tmp_path / "relay.db.spool").rglob("*") if path.is_file())
    again = await core.submit(content=content)
    assert (again.id, again.replayed, first.replayed) == (first.id, True, False)
    for other in (submission(content=content + b"y"), submission("cyd@b.example", content=content)):
        assert (await refusal_of(core, other)).refusal is Refusal.IDEMPOTENCY_MISMATCH
    assert len(server.messages) == 1
    assert len(core.log.lines("accepted")) == 1
    assert core.admission.depth == 0
    assert sorted(path for path in (tmp_path / "relay.db.spool").rglob("*") if path.is_file()) == spooled


async def test_a_door_may_know_better_what_a_key_stands_for(core: Core, server: SmtpServer) -> None:
    controls = Controls(idempotency_key="k")
    first = await core.intake.accept(replace(submission(content=b"A: 1\r\n\r\n", controls=controls), digest="d"))
    again = await core.intake.accept(replace(submission(content=b"A: 2\r\n\r\n", controls=controls), digest="d"))
    assert again.id == first.id


async def test_the_doors_are_told_of_a_full_queue_and_a_stop(core: Core, server: SmtpServer) -> None:
    core.intake.check_admission()
    core.admission.depth = 100_000
    with pytest.raises(Rejected, match="the queue is full"):
        core.intake.check_admission()
    core.admission.depth = 0
    core.admission.stopping = True
    with pytest.raises(Rejected, match="shutting down"):
        core.intake.check_admission()
    accepted = await core.submit()  # what had begun may end
    await core.log.wait_for(accepted.id, "sent")


async def test_one_tenant_s_account_is_not_another_s(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, "secret", tenant="*", on_unknown=OnUnknown.HOLD)
    await core.submit(controls=Controls(account="secret"))  # the instance's serve everybody
    server.on("rcpt", OK)
    assert (
        await refusal_of_after(core, "sent", submission(controls=Controls(account="nope")))
    ).refusal is Refusal.NO_ACCOUNT
    page = await core.store.archive.list_messages(MessageFilter(tenant="other"))
    assert list(page) == []
    assert MessageState.SENT in {one.message.state for one in await core.store.archive.list_messages(MessageFilter())}


async def test_a_key_that_is_in_flight_is_said_to_be(core: Core, server: SmtpServer) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"Subject: x\r\n\r\n"
        begun.set()
        await go_on.wait()
        yield b"end\r\n"

    def handed_in() -> Submission:
        return submission(content=[b"Subject: x\r\n\r\n", b"end\r\n"], controls=Controls(idempotency_key="k"))

    first = asyncio.create_task(core.intake.accept(replace(handed_in(), content=slowly())))
    await begun.wait()
    refused = await refusal_of(core, handed_in())
    assert refused.refusal is Refusal.IDEMPOTENCY_IN_FLIGHT
    assert (refused.reply.code, refused.refusal.http_status) == (451, 409)
    go_on.set()
    accepted = await first
    again = await core.intake.accept(handed_in())
    assert (again.id, again.replayed) == (accepted.id, True)


async def test_who_is_waited_for_holds_no_content(core: Core, server: SmtpServer) -> None:
    """What came of a large message is in the spool; no frame on the way keeps a piece of it while the client pauses."""
    count, piece = 20, 32 * 1024
    waiting, go_on = asyncio.Barrier(count + 1), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"Subject: x\r\n\r\n" + b"x" * piece
        for octet in b"abcdefg":
            yield bytes([octet]) * piece
        await waiting.wait()
        await go_on.wait()
        yield b"\r\n"

    tracemalloc.start()
    try:
        tasks = [asyncio.create_task(core.intake.accept(replace(submission(), content=slowly()))) for _ in range(count)]
        await waiting.wait()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < count * (piece + 8 * 1024)  # the writer gathers a piece; three more were held by frames
    go_on.set()
    await asyncio.gather(*tasks)


async def test_duplicates_without_a_key_are_found_where_a_tenant_wants_it(core: Core, server: SmtpServer) -> None:
    content = b"Message-ID: <one@erp.example>\r\nSubject: x\r\n\r\nhello\r\n"
    await core.submit(content=content)
    assert not (await core.submit(content=content)).replayed
    await core.change_tenant(duplicates_window=10 * MINUTE)
    first = await core.submit(content=content)
    assert (first.replayed, await core.submit(content=content)) == (False, Accepted(first.id, replayed=True))
    for other in (
        core.submit(content=content + b"more\r\n"),
        core.submit(
            "cyd@b.example", content=content
        ),  # the rest of a message's recipients, from a server that divides them
        core.submit(content=content.replace(b"one@", b"two@")),
        core.submit(content=content, controls=Controls(idempotency_key="k")),
        core.submit(content=b"Subject: x\r\n\r\nhello\r\n"),
        core.submit(content=b"Subject: x\r\n\r\nhello\r\n"),
    ):
        assert not (await other).replayed
    core.fake.advance(10 * MINUTE + 1)
    assert not (await core.submit(content=content)).replayed


async def test_an_edit_counts_once_and_is_logged_with_what_it_replaces(core: Core, server: SmtpServer) -> None:
    later = Controls(client_id="c", not_before=START + HOUR)
    first = await core.submit(controls=later)
    second = await core.submit(content=b"Subject: new\r\n\r\nnew\r\n", controls=later)
    assert second.replaces == first.id
    assert core.admission.depth == 1
    assert core.log.lines("cancelled", first.id)
    third = await core.submit(content=b"Subject: newer\r\n\r\n", controls=Controls(client_id="c"))
    await core.log.wait_for(third.id, "sent")
    assert [b"Subject: newer" in message.content for message in server.messages] == [True]
    refused = await refusal_of(core, submission(controls=Controls(client_id="c")))
    assert (refused.refusal, refused.reply.code) == (Refusal.DUPLICATE_CLIENT_ID, 550)
