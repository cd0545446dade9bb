"""The one table: a reply or an error, in a phase, to a verdict and its category or to the account's fault."""

from __future__ import annotations

import socket
import ssl

import aiosmtplib
import pytest

from relay.clock import HOUR, MINUTE, SECOND
from relay.config.rules import read_rules
from relay.delivery.classify import Judgement, judge_break, judge_error, judge_reply
from relay.delivery.dialogue import ConnectionLost, NoReply
from relay.delivery.guard import NotPublic
from relay.delivery.replies import BadReply, DialogueError
from relay.model.delivery import AccountFault, Asked, Category, Phase, Verdict
from relay.model.reply import Reply, read_reply

SENT, DEFERRED, FAILED, UNKNOWN = Verdict.SENT, Verdict.DEFERRED, Verdict.FAILED, Verdict.UNKNOWN


def _reply(line: str) -> Reply:
    return read_reply(int(line[:3]), line[4:])


@pytest.mark.parametrize(
    ("phase", "line", "verdict", "category"),
    [
        (Phase.MAIL, "250 2.1.0 ok", SENT, Category.NONE),
        (Phase.RCPT, "250 2.1.5 ok", SENT, Category.NONE),
        (Phase.RCPT, "251 will forward", SENT, Category.NONE),
        (Phase.RCPT, "252 cannot verify, will try", SENT, Category.NONE),
        (Phase.DOT, "250 2.0.0 queued", SENT, Category.NONE),
        (Phase.DOT, "200 fine", SENT, Category.NONE),
        (Phase.RCPT, "354 what", DEFERRED, Category.PROTOCOL),
        (Phase.RCPT, "999 what", DEFERRED, Category.PROTOCOL),
        (Phase.RCPT, "199 what", DEFERRED, Category.PROTOCOL),
        (Phase.DATA, "250 what", DEFERRED, Category.PROTOCOL),
        (Phase.DOT, "354 what", UNKNOWN, Category.PROTOCOL),
        (Phase.DOT, "999 what", UNKNOWN, Category.PROTOCOL),
        (Phase.MAIL, "421 closing", DEFERRED, Category.CONNECTION),
        (Phase.MAIL, "421 4.7.0 too many messages", DEFERRED, Category.RATE),
        (Phase.MAIL, "452 4.3.1 insufficient storage", DEFERRED, Category.OTHER),
        (Phase.MAIL, "552 5.3.4 too big", FAILED, Category.CONTENT),
        (Phase.MAIL, "552 too big", FAILED, Category.CONTENT),
        (Phase.MAIL, "550 5.7.1 sender refused", FAILED, Category.POLICY),
        (Phase.MAIL, "550 no", FAILED, Category.POLICY),
        (Phase.MAIL, "553 5.1.8 sender domain unknown", FAILED, Category.POLICY),
        (Phase.MAIL, "451 4.1.8 sender domain not resolved", DEFERRED, Category.POLICY),
        (Phase.MAIL, "451 4.3.0 try again", DEFERRED, Category.OTHER),
        (Phase.MAIL, "501 5.5.4 syntax", FAILED, Category.PROTOCOL),
        (Phase.RCPT, "550 5.1.1 no such mailbox", FAILED, Category.MAILBOX),
        (Phase.RCPT, "550 no such mailbox", FAILED, Category.MAILBOX),
        (Phase.RCPT, "550 0.0.0 no such mailbox", FAILED, Category.MAILBOX),
        (Phase.RCPT, "450 busy", DEFERRED, Category.MAILBOX),
        (Phase.RCPT, "451 4.7.1 greylisted", DEFERRED, Category.POLICY),
        (Phase.RCPT, "452 4.5.3 too many recipients", DEFERRED, Category.RATE),
        (Phase.RCPT, "452 too many recipients", DEFERRED, Category.RATE),
        (Phase.RCPT, "452 4.2.2 mailbox full", DEFERRED, Category.MAILBOX_FULL),
        (Phase.RCPT, "552 5.2.2 mailbox full", FAILED, Category.MAILBOX_FULL),
        (Phase.RCPT, "552 mailbox full", FAILED, Category.MAILBOX_FULL),
        (Phase.RCPT, "556 5.1.10 null MX", FAILED, Category.MAILBOX),
        (Phase.RCPT, "450 4.4.3 name server failure", DEFERRED, Category.DNS),
        (Phase.RCPT, "454 4.7.1 relay access denied", DEFERRED, Category.POLICY),
        (Phase.RCPT, "550 5.7.1 relaying denied", FAILED, Category.POLICY),
        (Phase.DATA, "554 5.5.1 no valid recipients", FAILED, Category.PROTOCOL),
        (Phase.DATA, "451 4.3.0 not now", DEFERRED, Category.OTHER),
        (Phase.DOT, "554 5.7.1 spam", FAILED, Category.POLICY),
        (Phase.DOT, "554 spam", FAILED, Category.POLICY),
        (Phase.DOT, "550 5.6.0 malformed", FAILED, Category.CONTENT),
        (Phase.DOT, "421 4.3.2 shutting down", DEFERRED, Category.CONNECTION),
        # As large receivers and common servers say it.
        (Phase.RCPT, "450 4.2.0 <b@x>: Recipient address rejected: Greylisted, see x", DEFERRED, Category.POLICY),
        (Phase.RCPT, "450 4.2.1 the user is receiving mail too quickly", DEFERRED, Category.RATE),
        (Phase.RCPT, "450 4.1.2 Recipient address rejected: Domain not found", DEFERRED, Category.DNS),
        (Phase.RCPT, "550 5.4.1 Recipient address rejected: Access denied", FAILED, Category.MAILBOX),
        (Phase.RCPT, "550 5.4.310 DNS domain does not exist", FAILED, Category.DNS),
        (Phase.RCPT, "550 5.5.0 Requested action not taken: mailbox unavailable", FAILED, Category.MAILBOX),
        (Phase.RCPT, "550 5.7.1 Relaying denied", FAILED, Category.POLICY),
        (Phase.RCPT, "550 your mailbox is full", FAILED, Category.MAILBOX_FULL),
        (Phase.RCPT, "525 5.7.13 Disabled recipient address", FAILED, Category.MAILBOX),
        (Phase.RCPT, "451 4.7.500 Server busy. Please try again later", DEFERRED, Category.RATE),
        (Phase.MAIL, "432 4.3.2 sender thread limit exceeded", DEFERRED, Category.RATE),
        (Phase.MAIL, "421 4.7.0 [TSS04] Messages temporarily deferred", DEFERRED, Category.RATE),
        (Phase.MAIL, "421 4.16.55 [TSS09] later", DEFERRED, Category.RATE),
        (Phase.DOT, "550 5.7.26 unauthenticated sender", FAILED, Category.POLICY),
        (Phase.DOT, "554 5.7.9 Message not accepted for policy reasons", FAILED, Category.POLICY),
        (Phase.DOT, "554 5.7.1 Missing reverse DNS for 192.0.2.2", FAILED, Category.POLICY),
        (Phase.DOT, "554 delivery error: This user doesn't have a receiver.test account", FAILED, Category.MAILBOX),
        (Phase.DOT, "554 Message rejected: Email address is not verified", FAILED, Category.POLICY),
        (Phase.DOT, "421 4.7.28 unusual rate of unsolicited mail", DEFERRED, Category.RATE),
        # What the server only repeats says nothing.
        (Phase.RCPT, '550 5.1.1 <"throttling failure"@b.example>: user unknown', FAILED, Category.MAILBOX),
        (Phase.RCPT, "550 tenant-exceeded-spam@b.example: no such user", FAILED, Category.MAILBOX),
    ],
)
def test_reply_in_a_mail(phase: Phase, line: str, verdict: Verdict, category: Category) -> None:
    judgement = judge_reply(_reply(line), phase)

    assert not isinstance(judgement, AccountFault)
    assert (judgement.verdict, judgement.category) == (verdict, category)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("552 too many recipients", DEFERRED),
        ("552 5.5.3 too many recipients", DEFERRED),
        ("552 5.2.2 mailbox full", FAILED),
    ],
)
def test_552_after_an_accepted_recipient(line: str, verdict: Verdict) -> None:
    judgement = judge_reply(_reply(line), Phase.RCPT, others_accepted=True)

    assert not isinstance(judgement, AccountFault)
    assert judgement.verdict is verdict


@pytest.mark.parametrize(
    ("phase", "line", "category"),
    [
        (Phase.CONNECT, "421 4.3.2 too busy", Category.CONNECTION),
        (Phase.CONNECT, "421 4.7.0 too many connections", Category.RATE),
        (Phase.CONNECT, "554 5.7.1 go away", Category.POLICY),
        (Phase.CONNECT, "999 what", Category.PROTOCOL),
        (Phase.EHLO, "550 bad name", Category.POLICY),
        (Phase.TLS, "454 4.7.0 TLS not available", Category.TLS),
        (Phase.AUTH, "535 5.7.8 wrong", Category.AUTH),
        (Phase.AUTH, "454 4.7.0 try later", Category.AUTH),
        (Phase.MAIL, "530 5.7.0 authentication required", Category.AUTH),
        (Phase.MAIL, "454 4.7.0 temporary authentication failure", Category.AUTH),
        (Phase.MAIL, "538 5.7.11 encryption required", Category.TLS),
        (Phase.MAIL, "530 5.7.10 encryption needed", Category.TLS),
        (Phase.RCPT, "530 5.7.57 client was not authenticated", Category.AUTH),
        (Phase.RCPT, "550 5.4.5 daily user sending limit exceeded", Category.RATE),
        (Phase.DOT, "550 5.4.5 daily user sending limit exceeded", Category.RATE),
        (Phase.DOT, "454 Throttling failure: Daily message quota exceeded.", Category.RATE),
        (Phase.MAIL, "454 4.7.0 Throttling failure: Maximum sending rate exceeded.", Category.RATE),
        (Phase.DATA, "550 5.7.705 Access denied, tenant has exceeded threshold", Category.RATE),
        (Phase.DOT, "550 5.1.90 you have reached your daily limit for message recipients", Category.RATE),
        (Phase.RCPT, "550 Domain acme.example has exceeded the max emails per hour (500/500) allowed.", Category.RATE),
        (Phase.DOT, "554 Message rejected: Sending paused for this account.", Category.POLICY),
        (Phase.MAIL, "530 5.7.0 Must issue a STARTTLS command first", Category.TLS),
        (Phase.AUTH, "534 5.7.9 Application-specific password required", Category.AUTH),
        (Phase.AUTH, "535 5.7.139 SmtpClientAuthentication is disabled for the tenant", Category.AUTH),
    ],
)
def test_reply_that_is_the_accounts_fault(phase: Phase, line: str, category: Category) -> None:
    fault = judge_reply(_reply(line), phase)

    assert isinstance(fault, AccountFault)
    assert (fault.category, fault.phase, fault.reply) == (category, phase, _reply(line))
    assert line in fault.detail


@pytest.mark.parametrize(
    ("line", "delay"),
    [
        ("451 4.7.1 greylisted, try again in 300 seconds", 300 * SECOND),
        ("451 4.7.1 greylisted", None),
        ("421 4.7.0 too much, retry after 15 minutes", 15 * MINUTE),
    ],
)
def test_a_reply_may_ask_for_a_delay(line: str, delay: int | None) -> None:
    asked = None if delay is None else Asked(delay)
    for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT, Phase.CONNECT):
        judgement = judge_reply(_reply(line), phase)
        assert judgement.asked == asked
        assert isinstance(judgement, AccountFault) is (phase is Phase.CONNECT)


def test_the_first_rule_that_fits_wins_over_the_table() -> None:
    rules = read_rules(
        """
        rcpt 550 mailbox * full -> deferred mailbox_full 1h
        550 full -> failed rate
        454 -> fault
        4.7.1 -> failed
        5.1.1 -> deferred
        """
    )

    def judge(phase: Phase, line: str) -> Judgement | AccountFault:
        return judge_reply(_reply(line), phase, rules)

    full = Judgement(DEFERRED, Category.MAILBOX_FULL, Asked(HOUR, by_rule=True))
    assert judge(Phase.RCPT, "550 Mailbox of bob is full") == full
    assert judge(Phase.DOT, "550 Mailbox of bob is full") == Judgement(FAILED, Category.RATE)
    assert judge(Phase.RCPT, "451 4.7.1 try again in 9 minutes") == Judgement(FAILED, Category.POLICY)
    assert judge(Phase.RCPT, "550 5.1.1 try in vain") == Judgement(DEFERRED, Category.MAILBOX)
    assert judge(Phase.RCPT, "550 5.1.2 nobody") == Judgement(FAILED, Category.DNS)
    fault = judge(Phase.RCPT, "454 wait 2 minutes")
    assert isinstance(fault, AccountFault)
    assert (fault.category, fault.asked) == (Category.OTHER, Asked(2 * MINUTE))
    assert judge(Phase.RCPT, "250 mailbox full") == Judgement(SENT, Category.NONE), "no rule changes what was accepted"
    assert isinstance(judge(Phase.AUTH, "535 4.7.1 no"), AccountFault), "nor what a session is refused with"


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("phase", "error", "category"),
    [
        (Phase.CONNECT, ConnectionRefusedError(111, "Connection refused"), Category.CONNECTION),
        (Phase.CONNECT, TimeoutError(), Category.TIMEOUT),
        (Phase.CONNECT, socket.gaierror(-2, "Name or service not known"), Category.DNS),
        (Phase.CONNECT, UnicodeError("label too long"), Category.DNS),
        (Phase.CONNECT, NotPublic("host x"), Category.CONFIGURATION),
        (Phase.CONNECT, OSError(101, "Network is unreachable"), Category.CONNECTION),
        (Phase.CONNECT, aiosmtplib.SMTPConnectError("lost"), Category.CONNECTION),
        (Phase.CONNECT, aiosmtplib.SMTPConnectTimeoutError("slow"), Category.TIMEOUT),
        (Phase.CONNECT, aiosmtplib.SMTPConnectResponseError(554, "5.7.1 no"), Category.POLICY),
        (Phase.CONNECT, aiosmtplib.SMTPConnectResponseError(-1, "garbage"), Category.PROTOCOL),
        (Phase.TLS, ssl.SSLCertVerificationError(1, "verify failed"), Category.TLS),
        (Phase.TLS, _caused(aiosmtplib.SMTPConnectError("x"), ssl.SSLError(1, "bad")), Category.TLS),
        (Phase.TLS, ConnectionResetError(104, "reset"), Category.TLS),
        (Phase.TLS, aiosmtplib.SMTPTimeoutError("slow"), Category.TIMEOUT),
        (Phase.EHLO, aiosmtplib.SMTPServerDisconnected("gone"), Category.CONNECTION),
        (Phase.EHLO, aiosmtplib.SMTPHeloError(421, "4.3.2 busy"), Category.CONNECTION),
        (Phase.AUTH, aiosmtplib.SMTPAuthenticationError(535, "5.7.8 no"), Category.AUTH),
        (Phase.AUTH, aiosmtplib.SMTPReadTimeoutError("slow"), Category.TIMEOUT),
    ],
)
def test_error_before_mail(phase: Phase, error: BaseException, category: Category) -> None:
    fault = judge_error(error, phase)

    assert fault is not None
    assert (fault.category, fault.phase) == (category, phase)
    assert fault.detail
    assert "{" not in fault.detail


def test_an_error_of_ours_is_nobodys_fault() -> None:
    assert judge_error(KeyError("x"), Phase.CONNECT) is None


def test_every_exception_of_the_library_is_mapped() -> None:
    kinds = {getattr(aiosmtplib, name) for name in dir(aiosmtplib) if name.startswith("SMTP")}
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) > 10
    for kind in errors:
        error = kind.__new__(kind)
        vars(error).update(code=550, message="5.0.0 no")
        assert judge_error(error, Phase.EHLO) is not None, kind


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT])
@pytest.mark.parametrize(
    ("error", "category"),
    [
        (ConnectionLost("connection lost"), Category.CONNECTION),
        (NoReply("no reply in time"), Category.TIMEOUT),
        (BadReply("not a reply: x"), Category.PROTOCOL),
    ],
)
def test_end_of_the_dialogue_in_a_mail(error: DialogueError, category: Category, phase: Phase) -> None:
    judgement, reply = judge_break(error, phase)

    assert judgement.verdict is (UNKNOWN if phase is Phase.DOT else DEFERRED)
    assert judgement.category is category
    assert reply.is_transient
    assert str(error) in reply.text
