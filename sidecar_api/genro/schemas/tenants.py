"""Tenants as genro-mail-proxy has them: those of ours, and the HTTP server that each has on its own side."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.client_side import ClientAuth, ClientSide
from relay.model.limit import Limits
from relay.model.tenant import Tenant
from sidecar_api.genro.schemas.commands import suspended_batches
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.fields import Identifier, Name, Secret, Strict

SYNC_INTERVAL = 300
"""Seconds between calls of a tenant that has nothing to be told."""

_Limit = Annotated[int, Field(ge=0, le=1_000_000_000)]


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)
        has_login = parts.username is not None or parts.password is not None
    except ValueError:
        raise ValueError("is not a URL") from None
    if not is_one or not value.isprintable() or " " in value:
        raise ValueError("must be an http or https URL")
    if has_login:
        raise ValueError("holds a login: say it in client_auth, where it is kept encrypted")
    return value


def _path(value: str) -> str:
    if not value.startswith("/") or not value.isprintable() or " " in value:
        raise ValueError("must be a path that begins with /")
    return value


_Url = Annotated[str, Field(max_length=2000), AfterValidator(_base_url)]
_Path = Annotated[str, Field(max_length=1000), AfterValidator(_path)]


@example({"method": "bearer", "token": "correct horse battery staple"})
class GenroClientAuthIn(Strict):
    """How the tenant's server knows who calls."""

    method: Literal["none", "bearer", "basic"] = "none"
    token: Secret | None = Field(default=None, repr=False)
    """Of `bearer`."""
    user: Secret | None = None
    """Of `basic`, with the password."""
    password: Secret | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.method == "bearer" and self.token is None:
            raise ValueError("bearer needs a token")
        if self.method == "basic" and (self.user is None or self.password is None):
            raise ValueError("basic needs user and password")
        return self

    def applied_to(self, side: ClientSide) -> ClientSide:
        """The client side with this."""
        match self.method:
            case "bearer":
                return replace(side, auth=ClientAuth.BEARER, user=None, secret=self.token)
            case "basic":
                return replace(side, auth=ClientAuth.BASIC, user=self.user, secret=self.password)
        return replace(side, auth=ClientAuth.NONE, user=None, secret=None)


@example({"hourly": 500, "daily": 5000})
class GenroRateLimitsIn(Strict):
    """How much a tenant may send over all its accounts; 0, as null, is no limit."""

    hourly: _Limit | None = None
    daily: _Limit | None = None


class GenroLargeFilesIn(Strict):
    """What becomes of large attachments."""

    enabled: Literal[False] = Field(default=False, description="they are not offloaded yet")


class _Facts(Strict):
    """What a tenant has besides its id."""

    name: Name | None = None
    client_base_url: _Url | None = None
    """Where its own HTTP server is. Reports and attachments are not exchanged with it yet."""
    client_sync_path: _Path | None = None
    """Where it takes reports."""
    client_attachment_path: _Path | None = None
    """Where it gives attachments."""
    client_auth: GenroClientAuthIn | None = None
    rate_limits: GenroRateLimitsIn | None = None
    """By an admin alone."""
    large_file_config: GenroLargeFilesIn | None = None
    active: bool = True
    """Whether it is to be called when there is nothing to report; its mail goes in either case."""

    def tenant_applied_to(self, tenant: Tenant) -> Tenant:
        """The tenant, with what is named of it."""
        named = self.model_fields_set
        if "name" in named:
            tenant = replace(tenant, name=self.name or tenant.id)
        if "rate_limits" in named:
            limits = self.rate_limits or GenroRateLimitsIn()
            by_hour, by_day = limits.hourly or None, limits.daily or None
            tenant = replace(tenant, limits=replace(tenant.limits, per_hour=by_hour, per_day=by_day))
        return tenant

    def side_applied_to(self, side: ClientSide) -> ClientSide:
        """Its own server, with what is named of it."""
        named = self.model_fields_set
        if "client_base_url" in named:
            side = replace(side, base_url=self.client_base_url)
        if "client_sync_path" in named:
            side = replace(side, sync_path=self.client_sync_path)
        if "client_attachment_path" in named:
            side = replace(side, attachment_path=self.client_attachment_path)
        if "client_auth" in named:
            side = (self.client_auth or GenroClientAuthIn()).applied_to(side)
        return replace(side, active=self.active) if "active" in named else side


@example({"id": "acme", "name": "Acme Ltd", "client_base_url": "https://app.example.com"})
class GenroTenantIn(_Facts):
    """A tenant, new or known: of one that is known what is not named stays as it is, and null clears."""

    id: Identifier


@example({"name": "Acme Ltd", "client_auth": {"method": "bearer", "token": "correct horse battery staple"}})
class GenroTenantChange(_Facts):
    """What changes of a tenant; null clears."""


@example({"method": "bearer", "user": None})
@exact
class GenroClientAuthOut(TypedDict):
    """How its server knows who calls, without the secret."""

    method: str
    user: str | None


@example({"hourly": 500, "daily": 5000})
@exact
class GenroRateLimitsOut(TypedDict):
    """Null is no limit."""

    hourly: int | None
    daily: int | None


@example(
    {
        "id": "acme",
        "name": "Acme Ltd",
        "client_base_url": "https://app.example.com",
        "client_sync_path": None,
        "client_attachment_path": None,
        "client_auth": {"method": "bearer", "user": None},
        "rate_limits": {"hourly": 500, "daily": 5000},
        "large_file_config": None,
        "active": True,
        "suspended_batches": None,
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class GenroTenantOut(TypedDict):
    """A tenant."""

    id: str
    name: str
    client_base_url: str | None
    client_sync_path: str | None
    """Null: `/mail-proxy/sync`."""
    client_attachment_path: str | None
    """Null: `/mail-proxy/attachments`."""
    client_auth: GenroClientAuthOut | None
    rate_limits: GenroRateLimitsOut | None
    large_file_config: None
    active: bool
    suspended_batches: str | None
    """By comma; `*` is all."""
    created_at: str


@example({"ok": True, "tenants": [example_of(GenroTenantOut)]})
@exact
class GenroTenantsOut(TypedDict):
    """All."""

    ok: bool
    tenants: list[GenroTenantOut]


@example({"ok": True, "api_key": "sp_…"})
@exact
class GenroTenantKeyOut(TypedDict, total=False):
    """Done; of a new tenant the token is shown this once."""

    ok: bool
    api_key: str


@example({"ok": True, "api_key": "sp_…"})
@exact
class GenroKeyOut(TypedDict):
    """The token, shown this once."""

    ok: bool
    api_key: str


@example(
    {
        "id": "acme",
        "name": "Acme Ltd",
        "active": True,
        "client_base_url": "https://app.example.com",
        "last_sync_ts": None,
        "next_sync_due": False,
        "in_dnd": False,
    }
)
@exact
class GenroSyncOut(TypedDict):
    """When a tenant's own server was called."""

    id: str
    name: str
    active: bool
    client_base_url: str | None
    last_sync_ts: int | None
    """Null: never; reports are not sent yet."""
    next_sync_due: bool
    in_dnd: bool
    """It has asked not to be called for a while."""


@example({"ok": True, "sync_interval_seconds": SYNC_INTERVAL, "tenants": [example_of(GenroSyncOut)]})
@exact
class GenroSyncsOut(TypedDict):
    """Of all tenants."""

    ok: bool
    sync_interval_seconds: int
    tenants: list[GenroSyncOut]


def tenant_out(tenant: Tenant, side: ClientSide) -> GenroTenantOut:
    """A tenant."""
    has_auth = side.auth is not ClientAuth.NONE
    return GenroTenantOut(
        id=tenant.id,
        name=tenant.name,
        client_base_url=side.base_url,
        client_sync_path=side.sync_path,
        client_attachment_path=side.attachment_path,
        client_auth=GenroClientAuthOut(method=side.auth, user=side.user) if has_auth else None,
        rate_limits=_rate_limits(tenant.limits),
        large_file_config=None,
        active=side.active,
        suspended_batches=",".join(suspended_batches(tenant)) or None,
        created_at=rfc3339(tenant.created_at),
    )


def _rate_limits(limits: Limits) -> GenroRateLimitsOut | None:
    if limits.per_hour is None and limits.per_day is None:
        return None
    return GenroRateLimitsOut(hourly=limits.per_hour, daily=limits.per_day)


def sync_out(tenant: Tenant, side: ClientSide) -> GenroSyncOut:
    """When its server was called: never so far."""
    return GenroSyncOut(
        id=tenant.id,
        name=tenant.name,
        active=side.active,
        client_base_url=side.base_url,
        last_sync_ts=None,
        next_sync_due=False,
        in_dnd=False,
    )
