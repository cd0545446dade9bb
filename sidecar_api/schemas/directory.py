"""Tenants, accounts, credentials and tokens: what comes in, and what is shown of them. No secret is ever shown again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from relay.clock import rfc3339, show_duration
from relay.model.tenant import Account, AccountKind, Credential, OnUnknown, RetrySettings, Scope, Tenant, TlsMode, Token
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    AccountRef,
    AllowedSender,
    BatchName,
    DurationIn,
    Identifier,
    Network,
    PriorityIn,
    Strict,
    Tags,
    TimeIn,
    Username,
)
from sidecar_api.schemas.hosts import check_host
from sidecar_api.schemas.patch import Patch
from sidecar_api.schemas.views import priority_word, when

_Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds a character that cannot be printed")
    return value


def _sendable(value: str) -> str:
    if any(character in value for character in "\0\r\n"):
        raise ValueError("holds a NUL or line end")
    return value


_Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
_Secret = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_sendable)]


_Schedule = Annotated[
    list[DurationIn],
    Field(min_length=1, max_length=100, description="the delay before each retry", examples=[["1m", "5m", "1h"]]),
    AfterValidator(tuple),
]
_Jitter = Annotated[
    float, Field(ge=0, le=0.5, strict=False, description="how far a delay may stray, as a share of itself")
]
_MaxAge = Annotated[DurationIn, Field(description="give up when a message is older", examples=["2d"])]
_MaxAttempts = Annotated[int, Field(ge=1, le=10_000, description="give up after so many attempts")]


class RetryIn(Strict):
    """How retries differ from the level above (account, then tenant, then instance); null is as there."""

    schedule: _Schedule | None = None
    jitter: _Jitter | None = None
    max_age: _MaxAge | None = None
    max_attempts: _MaxAttempts | None = None

    def settings(self) -> RetrySettings:
        """As the relay keeps them."""
        schedule = None if self.schedule is None else tuple(self.schedule)
        return RetrySettings(schedule, self.jitter, self.max_age, self.max_attempts)


class RetryPatch(Patch):
    """What can be changed of them; null takes the level above's again."""

    schedule: _Schedule | None = None
    jitter: _Jitter | None = None
    max_age: _MaxAge | None = None
    max_attempts: _MaxAttempts | None = None


@example({"id": "acme", "name": "Acme Ltd"})
class TenantIn(Strict):
    """A new tenant."""

    id: Identifier
    name: _Name | None = None
    retry: RetryIn = RetryIn()


@example({"name": "Acme Ltd", "default_account": "main"})
class TenantPatch(Patch):
    """What can be changed of a tenant. Without a default account its mail goes by the instance's."""

    name: _Name = ""
    default_account: AccountRef | None = None
    retry: RetryPatch = RetryPatch()


class LimitsIn(Strict):
    """How many messages may be sent in any window of that length; null is no limit."""

    per_minute: _Count | None = None
    per_hour: _Count | None = None
    per_day: _Count | None = None


@example(
    {
        "id": "out",
        "host": "smtp.example.com",
        "user": "relay@example.com",
        "password": "correct horse battery staple",
        "limits": {"per_hour": 500},
        "retry": {"schedule": ["1m", "5m", "1h"], "max_age": "2d"},
    }
)
class AccountIn(Strict):
    """A new account: a smart host (`smtp`), or `capture`, which keeps mail and never sends it."""

    id: Identifier
    kind: Literal["smtp", "capture"] = "smtp"
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    user: _Secret | None = None
    password: _Secret | None = Field(default=None, validate_default=True, repr=False)
    host: Annotated[str, AfterValidator(check_host)] | None = Field(default=None, validate_default=True)
    max_connections: int = Field(default=10, ge=1, le=1000)
    max_messages_per_connection: int = Field(default=1000, ge=1, le=1_000_000)
    limits: LimitsIn = LimitsIn()
    on_unknown: Literal["retry", "hold"] = "retry"
    retry: RetryIn = RetryIn()
    default: bool = False

    @field_validator("host")
    @classmethod
    def _host_of_smtp(cls, host: str | None, info: ValidationInfo) -> str | None:
        if host is None and info.data.get("kind") == "smtp":
            raise ValueError("an account of kind smtp needs a host")
        return host

    @field_validator("password")
    @classmethod
    def _both_or_none(cls, password: str | None, info: ValidationInfo) -> str | None:
        if "user" in info.data and (password is None) != (info.data["user"] is None):
            raise ValueError("user and password come together")
        return password


@example({"username": "erp", "allowed_senders": ["@example.com"], "tags": ["erp"]})
class CredentialIn(Strict):
    """A new credential: without `secret` and `networks` a secret is generated and shown once."""

    username: Username
    secret: _Secret | None = Field(default=None, repr=False)
    networks: list[Network] = Field(default_factory=list, max_length=100)
    account: AccountRef | None = None
    allowed_senders: list[AllowedSender] = Field(default_factory=list, max_length=1000)
    priority: PriorityIn | None = None
    batch: BatchName | None = None
    tags: Tags = Field(default_factory=list)


@example({"name": "newsletter", "scopes": ["send", "read"], "expires_at": "2027-01-01T00:00:00Z"})
class TokenIn(Strict):
    """A new token. `tenant` is an admin's to say (null: an admin's token); scopes not named are the caller's own."""

    name: _Name
    tenant: Identifier | None = None
    scopes: list[Literal["send", "read", "manage"]] | None = Field(default=None, min_length=1, max_length=3)
    expires_at: TimeIn | None = None


@example({"schedule": ["1m", "5m", "1h"], "jitter": None, "max_age": "2d", "max_attempts": None})
@exact
class RetryOut(TypedDict):
    """How retries differ from the level above; null is as there."""

    schedule: list[str] | None
    jitter: float | None
    max_age: str | None
    max_attempts: int | None


@example(
    {
        "id": "acme",
        "name": "Acme Ltd",
        "default_account": "main",
        "retry": {"schedule": None, "jitter": None, "max_age": None, "max_attempts": 8},
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class TenantOut(TypedDict):
    """A tenant."""

    id: str
    name: str
    default_account: str | None
    retry: RetryOut
    created_at: str


@exact
class TenantsOut(TypedDict):
    """All, by id."""

    items: list[TenantOut]
    next_cursor: str | None


@example({"id": "acme", "token": "sp_Jx3kQ0bWm…"})
@exact
class IssuedTokenOut(TypedDict):
    """A token, shown this once; `id` is the tenant's where a tenant was made, else the token's."""

    id: str
    token: str


@example({"per_minute": None, "per_hour": 500, "per_day": None})
@exact
class LimitsOut(TypedDict):
    """Limits; null is none."""

    per_minute: int | None
    per_hour: int | None
    per_day: int | None


@example(
    {
        "id": "out",
        "tenant": "acme",
        "kind": "smtp",
        "host": "smtp.example.com",
        "port": 587,
        "tls": "starttls",
        "user": "relay@example.com",
        "has_password": True,
        "max_connections": 10,
        "max_messages_per_connection": 1000,
        "limits": {"per_minute": None, "per_hour": 500, "per_day": None},
        "on_unknown": "retry",
        "retry": {"schedule": ["1m", "5m", "1h"], "jitter": None, "max_age": "2d", "max_attempts": None},
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class AccountOut(TypedDict):
    """An account; of its password only whether there is one. `tenant` `*` serves every tenant."""

    id: str
    tenant: str
    kind: str
    host: str
    port: int
    tls: str
    user: str | None
    has_password: bool
    max_connections: int
    max_messages_per_connection: int
    limits: LimitsOut
    on_unknown: str
    retry: RetryOut
    created_at: str


@exact
class AccountsOut(TypedDict):
    """All of an owner."""

    items: list[AccountOut]
    next_cursor: str | None


@example(
    {
        "username": "erp",
        "tenant": "acme",
        "has_secret": True,
        "networks": [],
        "account": None,
        "allowed_senders": ["@example.com"],
        "priority": None,
        "batch": None,
        "tags": ["erp"],
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class CredentialOut(TypedDict):
    """A credential."""

    username: str
    tenant: str
    has_secret: bool
    networks: list[str]
    account: str | None
    allowed_senders: list[str]
    priority: str | None
    batch: str | None
    tags: list[str]
    created_at: str


@exact
class CredentialsOut(TypedDict):
    """All of a tenant."""

    items: list[CredentialOut]
    next_cursor: str | None


@example({"username": "erp", "secret": "…"})
@exact
class IssuedCredentialOut(TypedDict):
    """A new credential; `secret` is shown this once, and null where none was generated."""

    username: str
    secret: str | None


@example(
    {
        "id": "t-5f3a",
        "name": "newsletter",
        "tenant": "acme",
        "scopes": ["read", "send"],
        "expires_at": "2027-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class TokenOut(TypedDict):
    """A token without its secret; `tenant` null is an admin's."""

    id: str
    name: str
    tenant: str | None
    scopes: list[str]
    expires_at: str | None
    created_at: str


@exact
class TokensOut(TypedDict):
    """All of a tenant."""

    items: list[TokenOut]
    next_cursor: str | None


def retry_out(retry: RetrySettings) -> RetryOut:
    """How retries differ."""
    return RetryOut(
        schedule=None if retry.schedule is None else [show_duration(delay) for delay in retry.schedule],
        jitter=retry.jitter,
        max_age=None if retry.max_age is None else show_duration(retry.max_age),
        max_attempts=retry.max_attempts,
    )


def tenant_out(tenant: Tenant) -> TenantOut:
    """A tenant."""
    return TenantOut(
        id=tenant.id,
        name=tenant.name,
        default_account=tenant.default_account,
        retry=retry_out(tenant.retry),
        created_at=rfc3339(tenant.created_at),
    )


def account_out(account: Account) -> AccountOut:
    """An account without its password."""
    return AccountOut(
        id=account.id,
        tenant=account.tenant,
        kind=account.kind,
        host=account.host,
        port=account.port,
        tls=account.tls,
        user=account.user,
        has_password=account.password is not None,
        max_connections=account.max_connections,
        max_messages_per_connection=account.max_messages_per_connection,
        limits=LimitsOut(
            per_minute=account.limits.per_minute,
            per_hour=account.limits.per_hour,
            per_day=account.limits.per_day,
        ),
        on_unknown=account.on_unknown,
        retry=retry_out(account.retry),
        created_at=rfc3339(account.created_at),
    )


def credential_out(credential: Credential) -> CredentialOut:
    """A credential without its secret."""
    return CredentialOut(
        username=credential.username,
        tenant=credential.tenant,
        has_secret=credential.secret_hash is not None,
        networks=[str(network) for network in credential.networks],
        account=credential.account,
        allowed_senders=list(credential.allowed_senders),
        priority=None if credential.priority is None else priority_word(credential.priority),
        batch=credential.batch,
        tags=list(credential.tags),
        created_at=rfc3339(credential.created_at),
    )


def token_out(token: Token) -> TokenOut:
    """A token without its secret."""
    return TokenOut(
        id=token.id,
        name=token.name,
        tenant=token.tenant,
        scopes=sorted(scope.value for scope in token.scopes),
        expires_at=when(token.expires_at),
        created_at=rfc3339(token.created_at),
    )


KINDS = {kind.value: kind for kind in AccountKind}
TLS_MODES = {mode.value: mode for mode in TlsMode}
ON_UNKNOWN = {choice.value: choice for choice in OnUnknown}
SCOPES = {scope.value: scope for scope in Scope}
