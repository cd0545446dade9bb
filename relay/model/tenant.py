"""Tenant, and what it owns by configuration: credentials, tokens, accounts.

Secrets stand here in clear only on their way to a socket; `repr` never shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from relay.model.limit import NO_LIMITS, Limits
from relay.model.message import Priority
from relay.model.word import Word

DEFAULT_TENANT = "default"
INSTANCE = "*"
"""The owner of accounts that serve every tenant without one of its own; no tenant may be called so."""

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Ids of tenants, accounts and tokens."""
USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
"""AUTH user names: unique on an instance, since AUTH names no tenant."""


class TlsMode(Word):
    """How a connection to the next hop is protected; certificates are always verified."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class AccountKind(Word):
    """What an account does with mail."""

    SMTP = "smtp"  # a smart host
    CAPTURE = "capture"  # keeps it, never sends it


class OnUnknown(Word):
    """What follows when the final dot was sent and no reply came."""

    RETRY = "retry"  # a duplicate rather than a loss
    HOLD = "hold"  # somebody decides


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How retries differ from the level above (account, then tenant, then instance); None is as there. Times in µs."""

    schedule: tuple[int, ...] | None = None
    jitter: float | None = None
    max_age: int | None = None
    max_attempts: int | None = None


INHERIT = RetrySettings()


class SuppressOn(Word):
    """What puts an address on its tenant's list of suppressions by itself."""

    NEVER = "never"
    HARD_BOUNCE = "hard_bounce"  # the next hop refused the recipient for good: there is no such mailbox


SUPPRESS_FOR = 30 * 86_400_000_000
"""How long a hard bounce counts (µs): mailboxes are made again, and receivers make mistakes."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation that shares the instance."""

    id: str
    name: str
    default_account: str | None
    """None: the instance's default account."""
    created_at: int
    limits: Limits = NO_LIMITS
    """Over all its accounts."""
    domain_limits: Mapping[str, Limits] = field(default_factory=dict)
    """On its mail to a destination domain, over all its accounts; domains in lower case."""
    suspensions: Mapping[str, bool] = field(default_factory=dict)
    """Whether a batch is suspended, by batch code; "" is the whole tenant, and a batch's own word wins over it."""
    retry: RetrySettings = INHERIT
    duplicates_window: int | None = None
    """Within which time (µs) a message without an idempotency key is taken to be one with another of the same Message-ID,
    envelope and content; None: never."""
    suppress_on: SuppressOn = SuppressOn.HARD_BOUNCE
    suppress_for: int | None = SUPPRESS_FOR
    """How long (µs) such an address stays on the list; None: for good."""
    suppresses: bool = False
    """Whether there is anything on its list: else nobody need look there."""

    def suspends(self, batch: str | None) -> bool:
        """Whether a message of `batch` must wait."""
        return bool(self.suspensions) and self.suspensions.get(batch or "", self.suspensions.get("", False))


@dataclass(frozen=True, slots=True)
class Account:
    """A way out. `tenant` is INSTANCE for one that serves all."""

    tenant: str
    id: str
    kind: AccountKind
    host: str = ""
    port: int = 25
    tls: TlsMode = TlsMode.STARTTLS
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    max_connections: int = 10
    max_messages_per_connection: int = 1000
    limits: Limits = NO_LIMITS
    batch_size: int | None = None
    """The most deliveries claimed at once; None: as many as there are free connections."""
    on_unknown: OnUnknown = OnUnknown.RETRY
    guarded: bool = False
    """Named by a tenant, not by an admin: its host must be public, or inside security.outbound_networks."""
    version: int = 1
    """Rises with every change, so that a connection made under the old settings is never used again."""
    created_at: int = 0
    retry: RetrySettings = INHERIT
    enabled: bool = True
    """Else it takes no new mail, and what waits for it waits."""
    key: str = field(init=False, repr=False, compare=False)
    """Its name on the instance: of its connection pool, its breaker, its limit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.tenant}/{self.id}")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a legacy client presents at the SMTP door: a user name and secret, or the network it comes from."""

    username: str
    tenant: str
    secret_hash: str | None = field(default=None, repr=False)
    """None: this credential is its networks."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    account: str | None = None
    allowed_senders: tuple[str, ...] = ()
    """Addresses, or domains as `@example.com`; empty: any."""
    priority: Priority | None = None
    batch: str | None = None
    tags: tuple[str, ...] = ()
    created_at: int = 0
    previous_hash: str | None = field(default=None, repr=False)
    """Of the secret before the last rotation, good until `previous_until` (µs)."""
    previous_until: int = 0

    def hashes(self, now: int) -> tuple[str, ...]:
        """Of the secrets that are good now."""
        known = (self.secret_hash, self.previous_hash if now < self.previous_until else None)
        return tuple(each for each in known if each is not None)


class Scope(Word):
    """What a token may do."""

    SEND = "send"
    READ = "read"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Token:
    """What a REST client presents; stored as a hash. `tenant` None: an admin's, which may act for any tenant."""

    id: str
    name: str
    tenant: str | None
    scopes: frozenset[Scope] = frozenset(Scope)
    expires_at: int | None = None
    created_at: int = 0
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """From where it may be used; empty: from anywhere."""
    last_used_at: int | None = None
    """To the minute or so."""

    @property
    def is_admin(self) -> bool:
        """Whether it acts for the instance and, by naming one, for any tenant."""
        return self.tenant is None
