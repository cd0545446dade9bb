"""The small rules of intake, by table: queue ids, who may send what, trace fields."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR
from relay.errors import Refusal, Rejected
from relay.intake.header import HeaderSection
from relay.intake.policy import MAX_HOPS, check_hops, check_recipients, check_sender, settle_controls
from relay.intake.queue_id import RANDOM_BITS, TIME_LETTERS, QueueIds, encode
from relay.intake.submission import Principal, Trace
from relay.intake.trace import missing_fields, trace_fields
from relay.model.address import Address
from relay.model.control import UNSAID, Controls
from relay.model.envelope import Envelope
from relay.model.message import Priority, QueueId
from tests.support.clock import START, FakeClock

NOW = START
ANN = Principal("acme", "ann")
ALPHABET = set("0123456789abcdefghjkmnpqrstvwxyz")


def header(**controls: str) -> HeaderSection:
    return HeaderSection(b"", {name.replace("_", "-"): text for name, text in controls.items()}, 0, None, True)


# -- queue ids ----------------------------------------------------------------------------------------------------------


def test_ids_rise_strictly_even_when_time_stands_still_or_goes_back() -> None:
    clock = FakeClock()
    ids = QueueIds()
    given_out = [ids.next(clock.now()) for _ in range(1000)]
    clock.step_back(DAY)
    given_out += [ids.next(clock.now()) for _ in range(1000)]
    clock.advance(2 * DAY)
    given_out += [ids.next(clock.now()) for _ in range(10)]
    assert given_out == sorted(set(given_out))
    assert {len(one) for one in given_out} == {16}
    assert set("".join(given_out)) <= ALPHABET


def test_two_instances_do_not_give_the_same_id_in_the_same_microsecond() -> None:
    one, other = QueueIds(), QueueIds()
    assert not {one.next(NOW) for _ in range(1000)} & {other.next(NOW) for _ in range(1000)}


@given(
    st.integers(0, 2**55 - 1),
    st.integers(0, 2**55 - 1),
    st.integers(0, 2**RANDOM_BITS - 1),
    st.integers(0, 2**RANDOM_BITS - 1),
)
def test_order_of_ids_is_order_of_time(a: int, b: int, x: int, y: int) -> None:
    assert (encode(a, x) < encode(b, y)) == ((a, x) < (b, y))
    assert (encode(a, x)[:TIME_LETTERS] == encode(b, y)[:TIME_LETTERS]) == (a == b)


# -- who may send what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "sender", "passes"),
    [
        ((), "any@where.example", True),
        (("ann@acme.example",), "ann@acme.example", True),
        (("ann@acme.example",), "Ann@ACME.example", True),
        (("Ann@Acme.Example",), "ann@acme.example", True),
        (("ann@acme.example",), "", True),
        (("ann@acme.example",), "bob@acme.example", False),
        (("@acme.example",), "bob@acme.example", True),
        (("@Acme.Example",), "bob@acme.EXAMPLE", True),
        (("@acme.example",), "bob@sub.acme.example", False),
        (("@acme.example",), "bob@notacme.example", False),
        (("acme.example",), "bob@acme.example", False),
    ],
)
def test_the_sender_must_be_one_the_credential_may_use(allowed: tuple[str, ...], sender: str, passes: bool) -> None:
    principal = replace(ANN, allowed_senders=allowed)
    if passes:
        check_sender(principal, Address(sender))
        return
    with pytest.raises(Rejected) as caught:
        check_sender(principal, Address(sender))
    assert caught.value.refusal is Refusal.SENDER_NOT_ALLOWED


@pytest.mark.parametrize(
    ("number", "refusal"), [(0, Refusal.BAD_RECIPIENT), (1, None), (3, None), (4, Refusal.TOO_MANY_RECIPIENTS)]
)
def test_recipients_have_bounds(number: int, refusal: Refusal | None) -> None:
    envelope = Envelope(Address(""), tuple(Address(f"{n}@b") for n in range(number)))
    if refusal is None:
        check_recipients(envelope, 3)
        return
    with pytest.raises(Rejected) as caught:
        check_recipients(envelope, 3)
    assert caught.value.refusal is refusal


def test_loops_are_cut_at_fifty_hops() -> None:
    check_hops(replace(header(), hops=MAX_HOPS - 1))
    with pytest.raises(Rejected) as caught:
        check_hops(replace(header(), hops=MAX_HOPS))
    assert caught.value.refusal is Refusal.LOOP
    assert MAX_HOPS == 50


@pytest.mark.parametrize(
    ("said", "written", "principal", "settled"),
    [
        (UNSAID, header(), ANN, Controls(priority=Priority.MEDIUM)),
        (Controls(), header(), ANN, Controls(priority=Priority.MEDIUM)),
        (UNSAID, header(), replace(ANN, batch="theirs"), Controls(priority=Priority.MEDIUM, batch="theirs")),
        (UNSAID, header(batch="mine"), replace(ANN, batch="theirs"), Controls(priority=Priority.MEDIUM, batch="mine")),
        (Controls(), header(priority="0"), ANN, Controls(priority=Priority.IMMEDIATE)),
        (Controls(Priority.IMMEDIATE), header(), replace(ANN, priority=Priority.LOW), Controls(Priority.IMMEDIATE)),
        (Controls(), header(), replace(ANN, priority=Priority.IMMEDIATE), Controls(Priority.IMMEDIATE)),
        (
            Controls(batch="mine"),
            header(tags="a b"),
            replace(ANN, batch="theirs", account="main", tags=("c",)),
            Controls(Priority.MEDIUM, batch="mine", account="main", tags=("a", "b")),
        ),
        (
            Controls(),
            header(),
            replace(ANN, batch="theirs", account="main", tags=("c",)),
            Controls(Priority.MEDIUM, batch="theirs", account="main", tags=("c",)),
        ),
        (Controls(account="main"), header(), replace(ANN, account="main"), Controls(Priority.MEDIUM, account="main")),
        (
            Controls(client_id="1"),
            header(send_at="+1h", expires="+2h"),
            ANN,
            Controls(Priority.MEDIUM, client_id="1", not_before=NOW + HOUR, expires_at=NOW + 2 * HOUR),
        ),
        (Controls(tags=("a",)), header(tags=" "), ANN, Controls(Priority.MEDIUM, tags=("a",))),
    ],
)
def test_the_message_s_own_value_wins_then_the_credential_s(
    said: Controls, written: HeaderSection, principal: Principal, settled: Controls
) -> None:
    assert settle_controls(said, written, principal, "X-Stagepost-", NOW) == settled


@pytest.mark.parametrize(
    ("said", "written", "principal", "refusal", "text"),
    [
        (Controls(), header(priority="9"), ANN, Refusal.BAD_CONTENT, "X-Stagepost-Priority: must be"),
        (Controls(), header(send_at="soon"), ANN, Refusal.BAD_CONTENT, "X-Stagepost-Send-At: must be"),
        (Controls(), header(client_id="\udcff"), ANN, Refusal.BAD_CONTENT, "X-Stagepost-Client-Id: must be"),
        (Controls(Priority.IMMEDIATE), header(priority="0"), ANN, Refusal.BAD_CONTENT, "priority: said twice"),
        (Controls(tags=("a",)), header(tags="b"), ANN, Refusal.BAD_CONTENT, "tags: said twice"),
        (Controls(expires_at=NOW), header(), ANN, Refusal.BAD_CONTENT, "expires before"),
        (Controls(), header(expires="+1h", send_at="+1h"), ANN, Refusal.BAD_CONTENT, "expires before"),
        (Controls(not_before=NOW + DAY), header(expires="+1h"), ANN, Refusal.BAD_CONTENT, "expires before"),
        (Controls(account="other"), header(), replace(ANN, account="main"), Refusal.NO_ACCOUNT, "other"),
        (Controls(), header(account="other"), replace(ANN, account="main"), Refusal.NO_ACCOUNT, "other"),
    ],
)
def test_controls_that_do_not_hold(
    said: Controls, written: HeaderSection, principal: Principal, refusal: Refusal, text: str
) -> None:
    with pytest.raises(Rejected, match=text) as caught:
        settle_controls(said, written, principal, "X-Stagepost-", NOW)
    assert caught.value.refusal is refusal
    assert caught.value.path


# -- trace fields -------------------------------------------------------------------------------------------------------

ID = QueueId("0123456789abcdef")


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (
            Trace("ESMTPSA", "192.0.2.1", "erp.local", "TLSv1.3"),
            b"from erp.local ([192.0.2.1])\r\n\t(using TLSv1.3)\r\n\tby relay.example with ESMTPSA id 0123456789abcdef;",
        ),
        (Trace("HTTP", "::1"), b"from [IPv6:::1]\r\n\tby relay.example with HTTP id 0123456789abcdef;"),
    ],
)
def test_the_received_field(trace: Trace, line: bytes) -> None:
    date = b"\r\n\tThu, 01 Jan 2026 00:00:00 +0000\r\nX-Stagepost-ID: 0123456789abcdef\r\n"
    assert trace_fields(trace, ID, "relay.example", "X-Stagepost-", NOW) == b"Received: " + line + date


@given(st.text(max_size=400))
def test_nothing_a_client_says_of_itself_leaves_its_place(helo: str) -> None:
    fields = trace_fields(Trace("SMTP", "192.0.2.1", helo), ID, "relay.example", "X-Stagepost-", NOW)
    read = email.message_from_bytes(fields + b"\r\n", policy=email.policy.compat32)
    assert read.keys() == ["Received", "X-Stagepost-ID"]
    assert max(map(len, fields.split(b"\r\n"))) <= 998
    assert b"([192.0.2.1])" in fields or b"from [192.0.2.1]" in fields


@pytest.mark.parametrize(
    ("message_id", "has_date", "added"),
    [
        ("<a@b>", True, b""),
        (None, True, b"Message-ID: <new@relay>\r\n"),
        ("<a@b>", False, b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"),
        (None, False, b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <new@relay>\r\n"),
    ],
)
def test_missing_fields_are_added(message_id: str | None, has_date: bool, added: bytes) -> None:
    assert missing_fields(HeaderSection(b"", {}, 0, message_id, has_date), "<new@relay>", NOW) == added
