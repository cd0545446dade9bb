"""Classify: what a reply or an error means for a recipient, or for the account. Pure; one table for each.

A reply decides by its code; its enhanced status code (RFC 3463) says why. Before MAIL there is no mail yet, so whatever
goes wrong there is the account's fault or the way's; after it, only what speaks of our right to send is. What nobody
foresaw is transient.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiosmtplib

from relay.delivery.dialogue import ConnectionLost, NoReply
from relay.delivery.guard import NotPublic
from relay.delivery.hint import asked_delay
from relay.delivery.replies import BadReply, DialogueError
from relay.delivery.wording import account_fault_in, category_in
from relay.model.delivery import AccountFault, Asked, Category, Phase, Verdict
from relay.model.reply import Reply, read_reply
from relay.model.reply_rule import ReplyRule, RuleOutcome


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reply or an error means for one recipient. SENT after MAIL or RCPT means: accepted so far."""

    verdict: Verdict
    category: Category
    asked: Asked | None = None


YES = range(200, 300)
"""The codes that grant MAIL, RCPT and the mail itself (RFC 5321 §4.3.2)."""
ACCEPTED = Judgement(Verdict.SENT, Category.NONE)
_SESSION = frozenset({Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.AUTH})
_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_ANSWERED_BY_2YZ = (Phase.DOT, Phase.RCPT, Phase.MAIL)
_ALL = frozenset(Phase)
_RCPT = frozenset({Phase.RCPT})
_TOO_MANY = frozenset({None, "5.3"})

# Our right to send, in a mail transaction: codes, subject.detail of the enhanced code (`*`: any, None: none), phases.
# 534, 535, 538, X.7.8, X.7.9, X.7.11, X.7.12: RFC 4954; 530: RFC 3207 and 4954; X.4.5 is a spent sending quota.
_ACCOUNT_FAULTS: tuple[tuple[frozenset[int], frozenset[str | None], frozenset[Phase], Category], ...] = (
    (frozenset({530, 538, 550, 554}), frozenset({"7.10", "7.11"}), _ALL, Category.TLS),
    (frozenset({530, 534, 535, 538}), frozenset({"*"}), _ALL, Category.AUTH),
    # At the dot large receivers say 5.7.9 to mail that fails DMARC: that is the mail's fault.
    (frozenset({550, 554}), frozenset({"7.8", "7.9"}), frozenset({Phase.MAIL}), Category.AUTH),
    (frozenset({454}), frozenset({None, "7.0", "7.8", "7.12"}), frozenset({Phase.MAIL}), Category.AUTH),
    (frozenset({550, 552, 554}), frozenset({"4.5", "1.90"}), _ALL, Category.RATE),
    (frozenset({550, 554}), frozenset({"7.705", "7.708", "7.750", "7.232", "7.233"}), _ALL, Category.RATE),
)

# Why, by the enhanced code: the first row that fits; `7.` fits all of subject 7.
_BY_ENHANCED: tuple[tuple[str, Category], ...] = (
    ("1.2", Category.DNS),
    ("1.7", Category.POLICY),
    ("1.8", Category.POLICY),
    ("1.", Category.MAILBOX),
    ("2.2", Category.MAILBOX_FULL),
    ("2.3", Category.CONTENT),
    ("2.", Category.MAILBOX),
    ("3.2", Category.CONNECTION),
    ("3.4", Category.CONTENT),
    ("4.1", Category.MAILBOX),  # as Exchange Online has it: refused at the edge of the recipient's organisation
    ("4.3", Category.DNS),
    ("4.4", Category.DNS),
    ("4.310", Category.DNS),
    ("4.312", Category.DNS),
    ("4.5", Category.RATE),
    ("4.7", Category.TIMEOUT),
    ("4.", Category.CONNECTION),
    ("5.3", Category.RATE),
    ("5.", Category.PROTOCOL),
    ("6.", Category.CONTENT),
    ("7.10", Category.TLS),
    ("7.13", Category.MAILBOX),
    ("7.28", Category.RATE),  # Gmail
    ("7.320", Category.TLS),
    ("7.321", Category.TLS),
    ("7.322", Category.TLS),
    ("7.323", Category.TLS),
    ("7.500", Category.RATE),
    ("7.650", Category.RATE),
    ("7.651", Category.RATE),
    ("7.", Category.POLICY),
    ("16.", Category.RATE),  # Yahoo
)

# Enhanced codes that are given to anything: the text knows better, if it says something.
_VAGUE = frozenset({None, "0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.2", "4.0", "4.2", "5.0", "5.2", "7.0", "7.1"})

# Why, by the code alone, where no enhanced code says it: codes, phases, category.
_BY_CODE: tuple[tuple[frozenset[int], frozenset[Phase], Category], ...] = (
    (frozenset({421}), _ALL, Category.CONNECTION),
    (frozenset({452}), _RCPT, Category.RATE),
    (frozenset({552}), _RCPT, Category.MAILBOX_FULL),
    (frozenset({552}), _ALL, Category.CONTENT),
    (frozenset({450, 550, 551, 553}), _RCPT, Category.MAILBOX),
    (frozenset({521, 556}), _ENVELOPE, Category.MAILBOX),
    (frozenset({550, 553, 554}), _ALL, Category.POLICY),
    (frozenset({500, 501, 502, 503, 504, 555}), _ALL, Category.PROTOCOL),
)

# Why a session was refused before any mail.
_BY_SESSION_PHASE = {
    Phase.CONNECT: Category.CONNECTION,
    Phase.TLS: Category.TLS,
    Phase.EHLO: Category.CONNECTION,
    Phase.AUTH: Category.AUTH,
}

# What an error means: type, category, what to tell people. The first that fits; an error's cause stands before the error.
_BY_ERROR: tuple[tuple[type[BaseException], Category, str], ...] = (
    (NotPublic, Category.CONFIGURATION, "{}"),
    (ssl.SSLCertVerificationError, Category.TLS, "certificate refused: {verify_message}"),
    (ssl.SSLError, Category.TLS, "TLS handshake failed: {reason}"),
    (socket.gaierror, Category.DNS, "host name not resolved: {strerror}"),
    (UnicodeError, Category.DNS, "host name not valid"),
    (NoReply, Category.TIMEOUT, "{}"),
    (BadReply, Category.PROTOCOL, "{}"),
    (ConnectionLost, Category.CONNECTION, "{}"),
    (TimeoutError, Category.TIMEOUT, "no answer in time"),
    (ConnectionRefusedError, Category.CONNECTION, "connection refused"),
    (aiosmtplib.SMTPServerDisconnected, Category.CONNECTION, "connection lost"),
    (ConnectionError, Category.CONNECTION, "connection failed"),
    (aiosmtplib.SMTPException, Category.PROTOCOL, "{}"),
    (OSError, Category.CONNECTION, "{strerror}"),
)


def judge_reply(
    reply: Reply, phase: Phase, rules: Sequence[ReplyRule] = (), *, others_accepted: bool = False
) -> Judgement | AccountFault:
    """What a reply in `phase` means: by the first of `rules` that fits, else by the table.

    `others_accepted`: a recipient of this transaction has been accepted before.
    """
    if reply.code in YES and phase in _ANSWERED_BY_2YZ:
        return ACCEPTED
    if phase in _SESSION:
        return _fault(session_category(reply, phase), phase, reply)
    if not (reply.is_transient or reply.is_permanent):
        # After the dot nobody knows what such a reply means for the mail: it may have been taken.
        return Judgement(Verdict.UNKNOWN if phase is Phase.DOT else Verdict.DEFERRED, Category.PROTOCOL)
    judgement = _judge_by_table(reply, phase, others_accepted)
    for rule in rules:
        if rule.fits(reply, phase):
            return _judge_by_rule(rule, reply, phase, judgement.category)
    return judgement


def _judge_by_rule(rule: ReplyRule, reply: Reply, phase: Phase, usual: Category) -> Judgement | AccountFault:
    category = rule.category or usual
    asked = _asked(reply) if rule.delay is None else Asked(rule.delay, by_rule=True)
    if rule.outcome is RuleOutcome.FAULT:
        return _fault(category, phase, reply, asked)
    if rule.outcome is RuleOutcome.FAILED:
        return Judgement(Verdict.FAILED, category)
    return Judgement(Verdict.DEFERRED, category, asked)


def _judge_by_table(reply: Reply, phase: Phase, others_accepted: bool) -> Judgement | AccountFault:
    detail = None if reply.enhanced is None else reply.enhanced[2:]
    for codes, details, phases, category in _ACCOUNT_FAULTS:
        if reply.code in codes and phase in phases and ("*" in details or detail in details):
            return _fault(account_fault_in(reply.text) or category, phase, reply)
    if (said := account_fault_in(reply.text)) is not None:
        return _fault(said, phase, reply)
    if reply.code == 552 and phase is Phase.RCPT and others_accepted and detail in _TOO_MANY:
        # RFC 5321 §4.5.3.1.10: too many recipients, as RFC 821 had it; a client takes it as 452.
        return Judgement(Verdict.DEFERRED, Category.RATE)
    category = _category(reply, phase, detail)
    if reply.is_permanent:
        return Judgement(Verdict.FAILED, category)
    return Judgement(Verdict.DEFERRED, category, _asked(reply))


def _fault(category: Category, phase: Phase, reply: Reply, asked: Asked | None = None) -> AccountFault:
    return AccountFault(category, phase, reply, _refused(reply, phase), asked or _asked(reply))


def _asked(reply: Reply) -> Asked | None:
    """What a reply asks for itself."""
    delay = asked_delay(reply.text)
    return None if delay is None else Asked(delay)


def judge_error(error: BaseException, phase: Phase) -> AccountFault | None:
    """The account's fault that an error before MAIL is; None for one that the network cannot have made."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        reply = foreign_reply(error.code, error.message)
        if reply is None:
            return AccountFault(Category.PROTOCOL, phase, None, f"in {phase}: not a reply of SMTP")
        return _fault(session_category(reply, phase), phase, reply)
    found = _look_up(error)
    if found is None:
        return None
    category, detail = found
    if category is Category.CONNECTION and phase is Phase.TLS:
        category = Category.TLS
    return AccountFault(category, phase, None, f"in {phase}: {detail}")


def judge_break(error: DialogueError, phase: Phase) -> tuple[Judgement, Reply]:
    """What the end of a dialogue in the middle of a mail means for its open recipients, and our own word for it."""
    found = _look_up(error)
    category, detail = found or (Category.OTHER, str(error))
    enhanced = {Category.PROTOCOL: "4.5.0"}.get(category, "4.4.2")
    if phase is Phase.DOT:
        text = f"{detail} after the whole message was sent: it may have been delivered"
        return Judgement(Verdict.UNKNOWN, category), Reply(451, enhanced, text)
    return Judgement(Verdict.DEFERRED, category), Reply(451, enhanced, f"in {phase}: {detail}")


def session_category(reply: Reply, phase: Phase) -> Category:
    """Why a session was refused."""
    if phase in {Phase.TLS, Phase.AUTH}:
        return _BY_SESSION_PHASE[phase]
    if not (reply.is_transient or reply.is_permanent):
        return Category.PROTOCOL
    detail = "" if reply.enhanced is None else reply.enhanced[2:]
    if reply.is_transient and detail.startswith(("7.", "4.5")):
        return Category.RATE
    return Category.POLICY if reply.is_permanent else _BY_SESSION_PHASE[phase]


def _category(reply: Reply, phase: Phase, detail: str | None) -> Category:
    if reply.code == 421 and detail is not None and detail.startswith("7."):
        return Category.RATE
    if detail in _VAGUE and (said := category_in(reply.text)) is not None:
        return said
    if detail not in {None, "0.0"}:
        for prefix, category in _BY_ENHANCED:
            if detail == prefix or (prefix.endswith(".") and str(detail).startswith(prefix)):
                return category
    for codes, phases, category in _BY_CODE:
        if reply.code in codes and phase in phases:
            return category
    return Category.OTHER


def _look_up(error: BaseException) -> tuple[Category, str] | None:
    """Category and words for an error; what caused it knows better."""
    if error.__cause__ is not None and (found := _look_up(error.__cause__)) is not None:
        return found
    for kind, category, words in _BY_ERROR:
        if isinstance(error, kind):
            facts = {
                name: getattr(error, name, None) or kind.__name__ for name in ("strerror", "reason", "verify_message")
            }
            return category, words.format(error, **facts)
    return None


def foreign_reply(code: int, text: str) -> Reply | None:
    """A reply as aiosmtplib has it; None where it was no reply at all (the library then says -1)."""
    return read_reply(code, text) if 200 <= code <= 599 else None


def _refused(reply: Reply, phase: Phase) -> str:
    return f"refused in {phase}: {reply}"
