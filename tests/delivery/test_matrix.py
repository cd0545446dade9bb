"""Every combination of replies to MAIL, to two recipients, to DATA and to the dot, of cuts and garbage between them, with
and without PIPELINING, over real sockets: what becomes of every recipient, against an oracle of its own."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple, cast

import pytest
import trustme

from relay.clock import HOUR, MINUTE
from relay.delivery import transaction
from relay.delivery.classify import Judgement, judge_break, judge_reply
from relay.delivery.courier import Courier
from relay.delivery.dialogue import Dialogue
from relay.delivery.replies import DialogueError
from relay.dispatch.outcome import settle_attempt, settle_fault
from relay.dispatch.retry import RetryPolicy
from relay.model.delivery import AccountFault, Attempt, LeasedDelivery, Phase, Settlement, Verdict
from relay.model.message import OPEN_STATES, DeliveryState, RecipientState
from relay.model.reply import Reply
from relay.model.tenant import OnUnknown, TlsMode
from tests.delivery.post import account_at, make_delivery
from tests.support.smtp_server import DROP, EXTENSIONS, Action, Scripted, SmtpServer

Means = Literal["yes", "later", "never", "odd", "end", "fault"]
"""What a reply says by RFC 5321: `odd` answers something else than was asked, `end` ends the dialogue, `fault` is the
account's."""
Table = dict[str, tuple[Scripted, Means]]

ENDS: Table = {
    "421": ("421 4.3.2 closing", "later"),  # and ends it
    "garbage": (b"\xff\x00 garbage\r\n", "end"),
    "cut": (Action(b"250 2.", drop=True), "end"),
    "EOF": (DROP, "end"),
}
MAIL: Table = {
    "250": ("250 2.1.0 ok", "yes"),
    "451": ("451 4.3.0 not now", "later"),
    "550": ("550 5.7.1 not you", "never"),
    "530": ("530 5.7.0 authentication required", "fault"),
    "999": ("999 what", "odd"),
    **ENDS,
}
RCPT: Table = {
    "250": ("250 2.1.5 ok", "yes"),
    "251": ("251 will forward", "yes"),
    "250-": ("250-2.1.5 one\r\n250 2.1.5 two", "yes"),
    "450": ("450 4.2.0 busy", "later"),
    "452": ("452 4.5.3 too many recipients", "later"),
    "550": ("550 5.1.1 no such mailbox", "never"),
    "530": ("530 5.7.0 authentication required", "fault"),
    "999": ("999 what", "odd"),
    **ENDS,
}
DATA: Table = {
    "250": ("250 what", "end"),
    "451": ("451 4.3.0 not now", "later"),
    "554": ("554 5.7.1 no", "never"),
    "550": ("550 5.4.5 daily sending quota exceeded", "fault"),
    "999": ("999 what", "end"),
    **ENDS,
}
DOT: Table = {
    "250": ("250 2.0.0 queued", "yes"),
    "200": ("200 fine", "yes"),
    "250-": ("250-2.0.0 one\r\n250 2.0.0 two", "yes"),
    "250+": (b"250 2.0.0 queued\r\n250 2.0.0 again\r\n", "yes"),
    "451": ("451 4.3.0 not now", "later"),
    "554": ("554 5.7.1 spam", "never"),
    "454": ("454 throttling failure", "fault"),
    "354": ("354 what", "odd"),
    "999": ("999 what", "odd"),
    **ENDS,
}


EOF = "+EOF"


def _with_end(table: Table, *names: str) -> Table:
    """The same replies, with the end of the connection close behind."""
    return {name + EOF: (Action(cast("str", table[name][0]), drop=True), table[name][1]) for name in names}


LAST_TO_MAIL = _with_end(MAIL, "250", "451", "550", "530")
LAST_TO_RCPT = _with_end(RCPT, "250", "450", "550", "530")
LAST_TO_DATA = _with_end(DATA, "451", "554", "550")
LAST_TO_DOT = _with_end(DOT, "250", "451", "554", "454")
MAIL |= LAST_TO_MAIL
DATA |= LAST_TO_DATA
DOT |= LAST_TO_DOT


class Case(NamedTuple):
    """One word of each table; data "354" is what the server says by itself."""

    mail: str
    first: str
    second: str
    data: str
    dot: str


def _cases() -> Iterator[Case]:
    for first, second in itertools.product(RCPT, RCPT):
        yield from (Case("250", first, second, "354", dot) for dot in DOT)
        yield from (Case("250", first, second, data, "250") for data in DATA)
        yield from (Case(mail, first, second, "354", "250") for mail in MAIL if mail != "250")
    for end, other in itertools.product(LAST_TO_RCPT, RCPT):
        yield Case("250", end, other, "354", "250")
        yield Case("250", other, end, "354", "250")


CASES = list(_cases())
RCPT |= LAST_TO_RCPT
LAST_WORDS = [case for case in CASES if any(word.endswith(EOF) for word in case)]
TWO = ("one@receiver.test", "two@receiver.test")
Brought = Literal["sent", "failed", "deferred", "unknown", "fault"]
_REST: dict[Means, Brought] = {
    "later": "deferred",
    "never": "failed",
    "odd": "deferred",
    "end": "deferred",
    "fault": "fault",
}


def _brought(case: Case) -> list[Brought]:
    """What the attempt brings each recipient: RFC 5321 §3.3 and §4.2.1, told once more."""
    if (mail := MAIL[case.mail][1]) != "yes":
        return [_REST[mail]] * 2
    if case.mail.endswith(EOF):
        return ["deferred"] * 2
    told: list[Brought | None] = [None, None]
    for at, name in enumerate((case.first, case.second)):
        if name in ENDS:
            return [one or "deferred" for one in told]
        if (means := RCPT[name][1]) != "yes":
            told[at] = _REST[means]
        if name.endswith(EOF):
            return [one or "deferred" for one in told]
    if all(told):
        return [one or "deferred" for one in told]
    rest: Brought
    if case.data != "354":
        rest = _REST[DATA[case.data][1]]
    elif (dot := DOT[case.dot][1]) == "yes":
        rest = "sent"
    else:
        rest = "unknown" if dot in {"odd", "end"} else _REST[dot]
    return [one or rest for one in told]


def _expected(case: Case, on_unknown: OnUnknown, retries_left: bool) -> list[RecipientState]:
    """And what becomes of it."""
    brought = _brought(case)
    only_too_many = "sent" in brought and "452" in (case.first, case.second)  # the rest at once, uncounted
    waits = retries_left or "fault" in brought or only_too_many
    states = {
        "sent": RecipientState.SENT,
        "failed": RecipientState.FAILED,
        "deferred": RecipientState.DEFERRED if waits else RecipientState.FAILED,
        "unknown": RecipientState.UNKNOWN,
        "fault": RecipientState.DEFERRED,
    }
    found = [states[one] for one in brought]
    if on_unknown is OnUnknown.HOLD and RecipientState.DEFERRED in found:
        return [RecipientState.HELD if one is RecipientState.UNKNOWN else one for one in found]
    return found


RETRY = RetryPolicy((MINUTE,), jitter=0)


def _settle(delivery: LeasedDelivery, attempt: Attempt, on_unknown: OnUnknown) -> Settlement:
    now = attempt.finished_at
    if attempt.fault is not None:
        return settle_fault(delivery, attempt, attempt.fault, now + MINUTE, on_unknown, now, until=now + HOUR)
    return settle_attempt(delivery, attempt, RETRY, on_unknown, now)


def _wrong_states(case: Case, delivery: LeasedDelivery, attempt: Attempt) -> Iterator[object]:
    """Where the settlement differs from the oracle, by account and by retries that are left."""
    for on_unknown, number in itertools.product(OnUnknown, (1, 2)):
        settled = _settle(replace(delivery, attempt=number), attempt, on_unknown)
        states = [change.state for change in settled.recipients]
        if states != _expected(case, on_unknown, retries_left=number == 1):
            yield case, on_unknown, number, states
        if (settled.state is DeliveryState.DONE) != (not set(states) & OPEN_STATES):
            yield case, on_unknown, number, settled.state


async def _run(courier: Courier, server: SmtpServer, cases: list[Case], tls: TlsMode = TlsMode.NONE) -> list[object]:
    """The attempts, one after the other; what was wrong."""
    account = account_at(server.port, host="127.0.0.1", tls=tls)
    wrong: list[object] = []
    for case in cases:
        server.on("mail", MAIL[case.mail][0])
        server.to(TWO[0], RCPT[case.first][0])
        server.to(TWO[1], RCPT[case.second][0])
        server.on("data", *([] if case.data == "354" else [DATA[case.data][0]]))
        server.on("dot", DOT[case.dot][0])
        server.messages.clear()
        delivery = make_delivery(*TWO)

        attempt = await courier.deliver(delivery, account)

        wrong += _wrong_states(case, delivery, attempt)
        sent = {TWO[one.position] for one in attempt.outcomes if one.verdict is Verdict.SENT}
        taken = [message for message in server.messages if message.answer in range(200, 300)]
        if sent and not any(sent == set(message.recipients) for message in taken):
            wrong.append((case, "sent without a 2yz to the dot"))
    return wrong


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("first", RCPT)
async def test_matrix(courier: Courier, server: SmtpServer, pipelining: bool, first: str) -> None:
    if not pipelining:
        server.extensions = tuple(name for name in EXTENSIONS if name != "PIPELINING")
    assert await _run(courier, server, [case for case in CASES if case.first == first]) == []


@pytest.fixture
async def secured(authority: trustme.CA) -> AsyncIterator[SmtpServer]:
    """What it says last and the end of the session arrive as one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with SmtpServer(tls=context, implicit_tls=True) as server:
        yield server


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
async def test_last_words(courier: Courier, secured: SmtpServer, pipelining: bool) -> None:
    if not pipelining:
        secured.extensions = tuple(name for name in EXTENSIONS if name != "PIPELINING")
    assert await _run(courier, secured, LAST_WORDS, TlsMode.IMPLICIT) == []


def test_the_matrix_is_not_small() -> None:
    assert 2 * len(CASES) >= 5000
    assert len(set(CASES)) == len(CASES)


# -- what would be found -------------------------------------------------------------------------------------------------


def _judge_as(change: Callable[[Reply, Phase], Reply]) -> Callable[..., Judgement | AccountFault]:
    return lambda reply, phase, *rest, **more: judge_reply(change(reply, phase), phase, *rest, **more)


def _break_early(error: DialogueError, phase: Phase) -> tuple[Judgement, Reply]:
    return judge_break(error, Phase.BODY)


WRONG: dict[str, tuple[str, Callable[..., object]]] = {
    "a transient refusal of the mail is final": (
        "judge_reply",
        _judge_as(lambda reply, phase: Reply(554, None, "") if reply.code == 451 and phase is Phase.DOT else reply),
    ),
    "a full transaction is the mailbox's fault": (
        "judge_reply",
        _judge_as(lambda reply, _: Reply(550, None, "") if reply.code == 452 else reply),
    ),
    "a missing mailbox may appear": (
        "judge_reply",
        _judge_as(lambda reply, _: Reply(450, "4.1.1", "") if reply.code == 550 else reply),
    ),
    "354 to the dot is a yes": (
        "judge_reply",
        _judge_as(lambda reply, phase: Reply(250, None, "") if reply.code == 354 and phase is Phase.DOT else reply),
    ),
    "a wrong password is the mail's": (
        "judge_reply",
        _judge_as(lambda reply, _: Reply(550, None, "") if reply.code == 530 else reply),
    ),
    "no reply to the dot is a no": ("judge_break", _break_early),
}


@pytest.mark.parametrize("mistake", WRONG)
async def test_a_wrong_classifier_is_found(
    courier: Courier, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """The control of the matrix."""
    name, wrong = WRONG[mistake]
    monkeypatch.setattr(transaction, name, wrong)
    some = [case for case in CASES if case.first == "250" and case.second in {"250", "452", "550", "530"}]
    assert await _run(courier, server, some)


async def test_deafness_to_last_words_is_found(
    courier: Courier, secured: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = Dialogue.reply

    async def deaf(dialogue: Dialogue, patience: float) -> Reply:
        heard = await reply(dialogue, patience)
        dialogue.check_silence()
        return heard

    monkeypatch.setattr(Dialogue, "reply", deaf)
    for step in ("data", "dot"):
        some = [case for case in LAST_WORDS if case.second == "250" and getattr(case, step).endswith(EOF)]
        assert await _run(courier, secured, some, TlsMode.IMPLICIT)
