"""Wording: what can be told from a reply's text alone, as large providers and common servers write it.

Codes are used loosely: a spent quota is 454 here, 550 there; greylisting comes as 4.2.0, a missing mailbox as 5.0.0. The
text is asked where the codes leave it open. Each phrase is looked for as it stands, in letters of one case.
"""

from __future__ import annotations

import re

from relay.model.delivery import Category

# The account's own allowance or standing with its provider: nothing of its mail would go out now, whoever it is for.
_ACCOUNT_FAULTS: tuple[tuple[Category, tuple[str, ...]], ...] = (
    (
        Category.RATE,
        (
            "daily user sending",  # Gmail, Google Workspace
            "daily sending quota",
            "sending quota exceeded",
            "sending limit exceeded",
            "sending limits exceeded",
            "throttling failure",  # Amazon SES
            "maximum sending rate exceeded",
            "daily message quota exceeded",
            "submissionquotaexceeded",  # Exchange Online
            "submission quota exceeded",
            "daily limit for message recipients",
            "tenant has exceeded",
            "tenant exceeded",
            "exceeded the max emails per hour",  # cPanel
            "exceeded the max defers and failures",
            "maximum credits exceeded",  # SendGrid
            "outgoing message limit",
            "outbound message limit",
        ),
    ),
    (
        Category.POLICY,
        (
            "sending paused for this account",  # Amazon SES
            "account is paused",
            "account has been suspended from sending",
            "account is not allowed to send",
        ),
    ),
    (
        Category.AUTH,
        (
            "temporary authentication failure",
            "not authorized to perform `ses:",
            "not authorized to perform ses:",
            "client was not authenticated",  # Exchange
            "smtpclientauthentication is disabled",
        ),
    ),
    (Category.TLS, ("must issue a starttls command first",)),
)

# Why, where the codes do not say: the first that fits. The narrower phrases stand first.
_CATEGORIES: tuple[tuple[Category, tuple[str, ...]], ...] = (
    (Category.POLICY, ("greylist", "graylist", "grey-list", "gray-list", "grey listed")),
    (
        Category.MAILBOX_FULL,
        (
            "mailbox full",
            "mailbox is full",
            "mailbox for user is full",
            "over quota",
            "overquota",
            "out of storage",
            "exceeded storage",
            "exceeds allowed quota",
            "quota exceeded",
            "exceeded quota",
            "exceeded his quota",
            "insufficient disk space for",
            "not enough storage",
        ),
    ),
    (
        Category.RATE,
        (
            "rate limit",
            "rate-limit",
            "ratelimit",
            "too many connections",
            "too many concurrent",
            "too many messages",
            "too many emails",
            "too many mails",
            "too many sessions",
            "too many recipients",
            "too quickly",
            "at a rate that",
            "thread limit exceeded",
            "connections limit",
            "connection limit",
            "throttl",
            "unusual rate",
            "server busy",
            "frequency limited",
        ),
    ),
    (
        Category.POLICY,
        (
            "spam",
            "blacklist",
            "blocklist",
            "block list",
            "blocked",
            "dnsbl",
            "reputation",
            "dmarc",
            "spf ",
            "dkim",
            "sender id",
            "policy",
            "unauthenticated",
            "relay access denied",
            "relaying denied",
            "not permitted",
            "virus",
            "user complaints",
            "reverse dns",
            "rdns",
            "ptr record",
            "no ptr",
            "access denied",
            "sender address",
            "sender rejected",
            "mailfrom",
            "no relaying",
        ),
    ),
    (
        Category.MAILBOX,
        (
            "user unknown",
            "unknown user",
            "no such user",
            "no such recipient",
            "no such mailbox",
            "no such address",
            "no mailbox",
            "does not exist",
            "doesn't exist",
            "not exist",
            "not our customer",
            "recipient not found",
            "recipientnotfound",
            "user not found",
            "mailbox not found",
            "mailbox unavailable",
            "invalid mailbox",
            "invalid recipient",
            "unknown recipient",
            "unknown address",
            "unrouteable address",
            "address rejected",
            "recipient address is disabled",
            "disabled recipient",
            "mailbox is disabled",
            "account disabled",
            "account is disabled",
            "mailbox disabled",
            "account has been disabled",
            "doesn't have a",  # Yahoo
            "undeliverable address",
            "account inactive",
            "user is inactive",
        ),
    ),
    (
        Category.DNS,
        ("domain not found", "domain of sender", "host not found", "name service error", "unknown host", "dns"),
    ),
    (Category.CONTENT, ("message too large", "message size exceeds", "size limit", "message is too large")),
    (Category.TLS, ("starttls", " tls", "certificate")),
)


# What a server repeats of ours: an address must not be able to say what the server has not said.
_REPEATED = re.compile(r"<[^<>]*>|\"[^\"]*\"|[^\s@]{0,64}@\S*")


def account_fault_in(text: str) -> Category | None:
    """Why the account cannot send now, if a reply's text says so."""
    return _find(text, _ACCOUNT_FAULTS)


def category_in(text: str) -> Category | None:
    """Why, if a reply's text says it."""
    return _find(text, _CATEGORIES)


def _find(text: str, table: tuple[tuple[Category, tuple[str, ...]], ...]) -> Category | None:
    text = _REPEATED.sub(" ", text).lower()
    for category, phrases in table:
        if any(phrase in text for phrase in phrases):
            return category
    return None
