"""Accounts as genro-mail-proxy has them, and what they are in ours."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.limit import Limits, OnLimit
from relay.model.tenant import Account, AccountKind, TlsMode
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.fields import Identifier, Secret, Strict
from sidecar_api.schemas.hosts import check_host
from sidecar_api.schemas.limits import limits_out

MOST_AT_ONCE = 100
IMPLICIT_TLS_PORT = 465

_Limit = Annotated[int, Field(ge=0, le=1_000_000_000)]


def _none(value: object) -> object:
    if value not in (None, False):
        raise ValueError("certified mail (PEC) is not supported yet: leave it out")
    return value


_NotYet = Annotated[bool | int | str | None, AfterValidator(_none)]


@example(
    {
        "id": "out",
        "host": "smtp.example.com",
        "port": 587,
        "user": "relay@example.com",
        "password": "correct horse battery staple",
        "use_tls": True,
        "limit_per_hour": 500,
        "limit_behavior": "defer",
    }
)
class GenroAccountIn(Strict):
    """An account, new or known: of one that is known what is not named stays as it is, and null clears."""

    id: Identifier
    tenant_id: str | None = None
    """An admin's to say."""
    host: Annotated[str, AfterValidator(check_host)]
    port: int = Field(ge=1, le=65535)
    user: Secret | None = None
    """There is a login where user and password are both there."""
    password: Secret | None = Field(default=None, repr=False)
    use_tls: bool | None = None
    """True: TLS at once on port 465, STARTTLS on any other, which then must be there; null: true on port 465 alone."""
    limit_per_minute: _Limit | None = None
    limit_per_hour: _Limit | None = None
    limit_per_day: _Limit | None = None
    """0, as null, is no limit."""
    limit_behavior: Literal["defer", "reject"] | None = "defer"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """The most messages taken at once; more than 100 are 100."""
    ttl: int | None = 300
    """Without effect, as it always was: how long a connection is kept is the instance's to say."""
    is_pec_account: _NotYet = False
    imap_host: _NotYet = None
    imap_port: Annotated[int | None, Field(description="without effect")] = None
    imap_user: _NotYet = None
    imap_password: Annotated[_NotYet, Field(repr=False)] = None
    imap_folder: Annotated[str | None, Field(description="without effect")] = None
    imap_ssl: Annotated[bool | None, Field(description="without effect")] = None

    def new(self, owner: str, *, guarded: bool, at: int) -> Account:
        """A new account."""
        return self.applied_to(
            Account(owner, self.id, AccountKind.SMTP, self.host, self.port, guarded=guarded, created_at=at), known=False
        )

    def applied_to(self, account: Account, *, known: bool = True) -> Account:
        """The account as it will be; of one that is `known` only what is named."""
        named = self.model_fields_set if known else type(self).model_fields.keys()
        account = replace(account, host=self.host, limits=self._limits(account.limits, named))
        if "use_tls" in named:
            account = replace(account, tls=_tls(self.use_tls, self.port))
        elif self.port != account.port:
            account = replace(account, tls=_tls(account.tls is not TlsMode.NONE, self.port))
        if "batch_size" in named:
            account = replace(account, batch_size=self.batch_size and min(self.batch_size, MOST_AT_ONCE))
        return replace(
            account,
            port=self.port,
            user=self.user if "user" in named else account.user,
            password=self.password if "password" in named else account.password,
        )

    def _limits(self, limits: Limits, named: Set[str]) -> Limits:
        return replace(
            limits,
            per_minute=(self.limit_per_minute or None) if "limit_per_minute" in named else limits.per_minute,
            per_hour=(self.limit_per_hour or None) if "limit_per_hour" in named else limits.per_hour,
            per_day=(self.limit_per_day or None) if "limit_per_day" in named else limits.per_day,
            on_limit=OnLimit(self.limit_behavior or "defer") if "limit_behavior" in named else limits.on_limit,
        )


def _tls(use_tls: bool | None, port: int) -> TlsMode:
    if use_tls is None:
        use_tls = port == IMPLICIT_TLS_PORT
    if not use_tls:
        return TlsMode.NONE
    return TlsMode.IMPLICIT if port == IMPLICIT_TLS_PORT else TlsMode.STARTTLS


@example(
    {
        "id": "out",
        "tenant_id": "acme",
        "host": "smtp.example.com",
        "port": 587,
        "user": "relay@example.com",
        "use_tls": True,
        "limit_per_minute": None,
        "limit_per_hour": 500,
        "limit_per_day": None,
        "limit_behavior": "defer",
        "batch_size": None,
        "ttl": None,
        "is_pec_account": False,
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class GenroAccountOut(TypedDict):
    """An account without its password."""

    id: str
    tenant_id: str
    host: str
    port: int
    user: str | None
    use_tls: bool
    limit_per_minute: int | None
    limit_per_hour: int | None
    limit_per_day: int | None
    limit_behavior: str
    batch_size: int | None
    ttl: int | None
    """Null: it has no effect."""
    is_pec_account: bool
    created_at: str


@example({"ok": True, "accounts": [example_of(GenroAccountOut)]})
@exact
class GenroAccountsOut(TypedDict):
    """All of a tenant."""

    ok: bool
    accounts: list[GenroAccountOut]


def account_out(account: Account) -> GenroAccountOut:
    """An account."""
    limits = limits_out(account.limits)
    return GenroAccountOut(
        id=account.id,
        tenant_id=account.tenant,
        host=account.host,
        port=account.port,
        user=account.user,
        use_tls=account.tls is not TlsMode.NONE,
        limit_per_minute=limits["per_minute"],
        limit_per_hour=limits["per_hour"],
        limit_per_day=limits["per_day"],
        limit_behavior=limits["on_limit"],
        batch_size=account.batch_size,
        ttl=None,
        is_pec_account=False,
        created_at=rfc3339(account.created_at),
    )
