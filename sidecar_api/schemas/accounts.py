"""Accounts, as the API reads and shows them. A password goes in and never comes out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.tenant import Account, AccountKind, OnUnknown, TlsMode
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.fields import (
    Identifier,
    Secret,
    Strict,
)
from sidecar_api.schemas.hosts import check_host
from sidecar_api.schemas.limits import LimitsIn, LimitsOut, LimitsPatch, limits_out
from sidecar_api.schemas.patch import Patch
from sidecar_api.schemas.retry import RetryIn, RetryOut, RetryPatch, retry_out


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
    user: Secret | None = None
    password: Secret | None = Field(default=None, validate_default=True, repr=False)
    host: Annotated[str, AfterValidator(check_host)] | None = Field(default=None, validate_default=True)
    max_connections: int = Field(default=10, ge=1, le=1000)
    max_messages_per_connection: int = Field(default=1000, ge=1, le=1_000_000)
    limits: LimitsIn = LimitsIn()
    batch_size: int | None = Field(default=None, ge=1, le=100, description="the most deliveries taken at once")
    on_unknown: Literal["retry", "hold"] = "retry"
    retry: RetryIn = RetryIn()
    enabled: bool = True
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


@example({"password": "correct horse battery staple", "limits": {"per_hour": 1000}, "enabled": True})
class AccountPatch(Patch):
    """What can be changed of an account; its kind cannot. `user` null takes the login away, with its password."""

    host: Annotated[str, AfterValidator(check_host)] = ""
    port: int = Field(default=587, ge=1, le=65535)
    tls: Annotated[Literal["none", "starttls", "implicit"], AfterValidator(lambda word: TlsMode(word))] = "starttls"
    user: Secret | None = None
    password: Secret | None = Field(default=None, repr=False)
    max_connections: int = Field(default=10, ge=1, le=1000)
    max_messages_per_connection: int = Field(default=1000, ge=1, le=1_000_000)
    limits: LimitsPatch = LimitsPatch()
    batch_size: int | None = Field(default=None, ge=1, le=100)
    on_unknown: Annotated[Literal["retry", "hold"], AfterValidator(lambda word: OnUnknown(word))] = "retry"
    retry: RetryPatch = RetryPatch()
    enabled: bool = True


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
        "limits": example_of(LimitsOut),
        "batch_size": None,
        "on_unknown": "retry",
        "retry": {"schedule": ["1m", "5m", "1h"], "jitter": None, "max_age": "2d", "max_attempts": None},
        "enabled": True,
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
    batch_size: int | None
    on_unknown: str
    retry: RetryOut
    enabled: bool
    created_at: str


@exact
class AccountsOut(TypedDict):
    """All of an owner."""

    items: list[AccountOut]
    next_cursor: str | None


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
        limits=limits_out(account.limits),
        batch_size=account.batch_size,
        on_unknown=account.on_unknown,
        retry=retry_out(account.retry),
        enabled=account.enabled,
        created_at=rfc3339(account.created_at),
    )


KINDS = {kind.value: kind for kind in AccountKind}
TLS_MODES = {mode.value: mode for mode in TlsMode}
ON_UNKNOWN = {choice.value: choice for choice in OnUnknown}
