"""Tenants, as the API reads and shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, RootModel
from typing_extensions import TypedDict

from relay.clock import rfc3339, show_duration
from relay.model.address import parse_address
from relay.model.limit import NO_LIMITS, Limits
from relay.model.tenant import SUPPRESS_FOR, SuppressOn, Tenant
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.fields import (
    AccountRef,
    DurationIn,
    Identifier,
    Name,
    Strict,
)
from sidecar_api.schemas.limits import LimitsIn, LimitsOut, LimitsPatch, limits_out
from sidecar_api.schemas.patch import Patch
from sidecar_api.schemas.retry import RetryIn, RetryOut, RetryPatch, retry_out


def _domain(value: str) -> str:
    parse_address(f"postmaster@{value}")
    return value.lower()


Domain = Annotated[str, Field(max_length=253, examples=["example.net"]), AfterValidator(_domain)]
SuppressOnIn = Annotated[Literal["never", "hard_bounce"], AfterValidator(lambda word: SuppressOn(word))]
DomainLimitsIn = Annotated[dict[Domain, LimitsIn], Field(max_length=1000)]


@example({"id": "acme", "name": "Acme Ltd"})
class TenantIn(Strict):
    """A new tenant."""

    id: Identifier
    name: Name | None = None
    limits: LimitsIn = LimitsIn()
    domain_limits: DomainLimitsIn = Field(default_factory=dict)
    retry: RetryIn = RetryIn()
    duplicates_window: DurationIn | None = None
    """Within which time the same message without an idempotency key, by Message-ID, envelope and content, is taken to be one
    and answered as the first; null is never."""
    suppress_on: SuppressOnIn = "hard_bounce"
    """What puts an address on the list of suppressions by itself: `hard_bounce`, or `never`."""
    suppress_for: DurationIn | None = Field(default_factory=lambda: SUPPRESS_FOR)
    """For how long (30 days, unless said); null is for good."""


class DomainLimitsPatch(RootModel[dict[Domain, LimitsIn | None]]):
    """Limits on mail to a domain, by domain; null lifts those of one, and domains that are not named stay as they are."""

    root: Annotated[dict[Domain, LimitsIn | None], Field(max_length=1000)] = {}

    def apply_to(self, limits: Mapping[str, Limits]) -> Mapping[str, Limits]:
        """All of them, as they will be."""
        named = {domain: given.limits() if given else NO_LIMITS for domain, given in self.root.items()}
        return {domain: found for domain, found in {**limits, **named}.items() if found.is_set}


@example({"name": "Acme Ltd", "default_account": "main"})
class TenantPatch(Patch):
    """What can be changed of a tenant. Without a default account its mail goes by the instance's."""

    name: Name = ""
    default_account: AccountRef | None = None
    limits: LimitsPatch = LimitsPatch()
    domain_limits: DomainLimitsPatch = DomainLimitsPatch()
    retry: RetryPatch = RetryPatch()
    duplicates_window: DurationIn | None = None
    suppress_on: SuppressOnIn = "hard_bounce"
    suppress_for: DurationIn | None = None


@example(
    {
        "id": "acme",
        "name": "Acme Ltd",
        "default_account": "main",
        "limits": example_of(LimitsOut),
        "domain_limits": {"example.net": example_of(LimitsOut)},
        "suspended": False,
        "retry": {"schedule": None, "jitter": None, "max_age": None, "max_attempts": 8},
        "duplicates_window": None,
        "suppress_on": "hard_bounce",
        "suppress_for": "30d",
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class TenantOut(TypedDict):
    """A tenant."""

    id: str
    name: str
    default_account: str | None
    limits: LimitsOut
    domain_limits: dict[str, LimitsOut]
    suspended: bool
    retry: RetryOut
    duplicates_window: str | None
    suppress_on: str
    suppress_for: str | None
    created_at: str


@exact
class TenantsOut(TypedDict):
    """All, by id."""

    items: list[TenantOut]
    next_cursor: str | None


def tenant_out(tenant: Tenant) -> TenantOut:
    """A tenant."""
    return TenantOut(
        id=tenant.id,
        name=tenant.name,
        default_account=tenant.default_account,
        limits=limits_out(tenant.limits),
        domain_limits={domain: limits_out(limits) for domain, limits in sorted(tenant.domain_limits.items())},
        suspended=tenant.suspends(None),
        retry=retry_out(tenant.retry),
        duplicates_window=None if tenant.duplicates_window is None else show_duration(tenant.duplicates_window),
        suppress_on=tenant.suppress_on.value,
        suppress_for=None if tenant.suppress_for is None else show_duration(tenant.suppress_for),
        created_at=rfc3339(tenant.created_at),
    )
