"""Every combination of replies to two recipients, to DATA and to the dot, against an oracle of its own."""

from __future__ import annotations

import itertools

import pytest

from relay.delivery.courier import Courier
from relay.model.delivery import Verdict
from tests.delivery.post import account_at, make_delivery, verdicts
from tests.support.smtp_server import DROP, EXTENSIONS, Scripted, SmtpServer

SENT, DEFERRED, FAILED, UNKNOWN = Verdict.SENT, Verdict.DEFERRED, Verdict.FAILED, Verdict.UNKNOWN

RCPT: dict[str, Scripted] = {
    "250": "250 2.1.5 ok",
    "251": "251 will forward",
    "252": "252 will try",
    "450": "450 4.2.0 busy",
    "452": "452 4.5.3 too many recipients",
    "550": "550 5.1.1 no such mailbox",
    "421": "421 4.3.2 closing",
    "999": "999 what",
    "garbage": b"\xff\x00 garbage\r\n",
    "EOF": DROP,
}
DATA: dict[str, Scripted] = {
    "354": "354 go ahead",
    "250": "250 what",
    "451": "451 4.3.0 not now",
    "554": "554 5.7.1 no",
    "421": "421 4.3.2 closing",
    "999": "999 what",
    "garbage": b"garbage\r\n",
    "EOF": DROP,
}
DOT: dict[str, Scripted] = {
    "250": "250 2.0.0 queued",
    "251": "251 fine",
    "451": "451 4.3.0 not now",
    "552": "552 5.3.4 too big",
    "554": "554 5.7.1 spam",
    "421": "421 4.3.2 closing",
    "999": "999 what",
    "354": "354 what",
    "garbage": b"garbage\r\n",
    "EOF": DROP,
}
ENDS = {"421", "garbage", "EOF"}
CASES = [(first, second, "354", dot) for first, second in itertools.product(RCPT, RCPT) for dot in DOT] + [
    (first, second, data, "250") for first, second in itertools.product(RCPT, RCPT) for data in DATA if data != "354"
]


def _oracle(recipients: tuple[str, str], data: str, dot: str) -> list[Verdict]:
    """RFC 5321 §3.3 and §4.2.1, told once more."""
    verdicts: list[Verdict | None] = [None, None]
    for at, name in enumerate(recipients):
        if name in ENDS:
            return [verdict or DEFERRED for verdict in verdicts]
        verdicts[at] = {"4": DEFERRED, "5": FAILED, "9": DEFERRED}.get(name[0])
    if data != "354":
        rest = FAILED if data == "554" else DEFERRED
    else:
        rest = {"2": SENT, "4": DEFERRED, "5": FAILED}.get(dot[0], UNKNOWN)
    return [verdict or rest for verdict in verdicts]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("first", RCPT)
async def test_matrix(courier: Courier, server: SmtpServer, pipelining: bool, first: str) -> None:
    if not pipelining:
        server.extensions = tuple(name for name in EXTENSIONS if name != "PIPELINING")
    account = account_at(server.port, host="127.0.0.1")
    wrong = []
    for case in (case for case in CASES if case[0] == first):
        _, second, data, dot = case
        server.to("one@receiver.test", RCPT[first])
        server.to("two@receiver.test", RCPT[second])
        # 354 is what the server says by itself, where there is a recipient.
        server.on("data", *([] if data == "354" else [DATA[data]]))
        server.on("dot", DOT[dot])

        attempt = await courier.deliver(make_delivery("one@receiver.test", "two@receiver.test"), account)

        assert attempt.fault is None, case
        if verdicts(attempt) != _oracle((first, second), data, dot):
            wrong.append((case, verdicts(attempt)))
        if SENT in verdicts(attempt):
            assert server.messages.pop().answer in {250, 251}, case
    assert wrong == []


def test_the_matrix_is_not_small() -> None:
    assert len(CASES) > 1500
