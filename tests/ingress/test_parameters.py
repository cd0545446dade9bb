"""MAIL's and RCPT's arguments, as tables."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Refusal, Rejected
from relay.ingress.faults import ProtocolError
from relay.ingress.parameters import MailCommand, parse_mail, parse_rcpt
from relay.model.address import Address

A = Address("a@b.example")


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        ("FROM:<a@b.example>", MailCommand(A)),
        ("from:<a@b.example>", MailCommand(A)),
        ("FROM: <a@b.example>", MailCommand(A)),
        ("FROM:a@b.example", MailCommand(A)),
        ("FROM:<>", MailCommand(Address(""))),
        ("FROM:<a@b.example> SIZE=0", MailCommand(A, 0)),
        ("FROM:<a@b.example>  SIZE=12  BODY=8bitmime ", MailCommand(A, 12, eight_bit=True)),
        ("FROM:<a@b.example> BODY=7BIT SMTPUTF8", MailCommand(A, smtputf8=True)),
        ("FROM:<ä@b.example> SMTPUTF8", MailCommand(Address("ä@b.example"), smtputf8=True)),
        ("FROM:<a@b.example> AUTH=<>", MailCommand(A)),
        ("FROM:<a@b.example> AUTH=e+3Dmc2@example.com", MailCommand(A)),
    ],
)
def test_mail(argument: str, command: MailCommand) -> None:
    assert parse_mail(argument, extended=True) == command


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("", "501"),
        ("FROM", "501"),
        ("FROM:", "501"),
        ("FROM:<a@b.example", "501"),
        ("FROM:a@b.example>", "501"),
        ("FROM:<<a@b.example>>", "501"),
        ("FROM:<a@b.example>SIZE=1", "501"),
        ("TO:<a@b.example>", "501"),
        ("FROM:<a b@c.example>", "553"),
        ('FROM:<"a b"@c.example>', "553"),
        ("FROM:<@x.example:a@b.example>", "553"),
        ("FROM:<root>", "553"),
        ("FROM:<ä@b.example>", "553"),
        ("FROM:<a@b.example> SIZE", "501"),
        ("FROM:<a@b.example> SIZE=-1", "501"),
        ("FROM:<a@b.example> SIZE=٣", "501"),
        ("FROM:<a@b.example> SIZE=" + "9" * 21, "501"),
        ("FROM:<a@b.example> SIZE=1 size=1", "501"),
        ("FROM:<a@b.example> SMTPUTF8=1", "501"),
        ("FROM:<a@b.example> BODY", "555"),
        ("FROM:<a@b.example> BODY=BINARYMIME", "555"),
        ("FROM:<a@b.example> ENVID=1", "555"),
    ],
)
def test_mail_refused(argument: str, code: str) -> None:
    with pytest.raises((ProtocolError, Rejected)) as refused:
        parse_mail(argument, extended=True)
    assert isinstance(refused.value, ProtocolError | Rejected)
    assert str(refused.value.reply).startswith(code)


@pytest.mark.parametrize("argument", ["FROM:<a@b.example> SIZE=1", "FROM:<a@b.example> SMTPUTF8"])
def test_no_parameters_without_ehlo(argument: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_mail(argument, extended=False)
    assert refused.value.refusal is Refusal.UNKNOWN_PARAMETER


@pytest.mark.parametrize("path", ["", "a", "a@b@c", "a\x0bb@c.example", "a@b.example,c@d.example", "(x)a@b.example"])
def test_rcpt_refused(path: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_rcpt(f"TO:<{path}>", extended=True, utf8=True)
    assert refused.value.refusal is Refusal.BAD_RECIPIENT


@given(st.text(max_size=60))
def test_what_passes_is_what_was_said(text: str) -> None:
    """No rewriting: the address that policy sees is the one on the wire."""
    with contextlib.suppress(ProtocolError, Rejected):
        assert parse_rcpt(f"TO:<{text}>", extended=True, utf8=True) == text


@given(st.text(max_size=120))
def test_never_another_error(text: str) -> None:
    for argument in (text, f"FROM:{text}", f"FROM:<a@b.example> {text}"):
        with contextlib.suppress(ProtocolError, Rejected):
            parse_mail(argument, extended=True)
