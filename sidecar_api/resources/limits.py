"""Limits as they stand: how much of each is used, and when the next slot opens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aiohttp import web

from relay.model.limit import Limits, account_limit, domain_limit, tenant_limit
from relay.model.tenant import INSTANCE, Account, Tenant
from sidecar_api.auth import one_owner
from sidecar_api.call import Call, answer
from sidecar_api.schemas import limits as shapes
from sidecar_api.schemas.queries import TenantQuery


async def list_limits(call: Call) -> web.Response:
    """GET /v1/limits: those that are set; of `*`, those of the accounts that serve all."""
    directory = call.services.directory
    owner = await one_owner(call.caller, call.asked(TenantQuery).tenant, directory)
    found = list(_of_accounts(await directory.accounts(owner)))
    if owner != INSTANCE:
        found += _of_tenant(await directory.tenant(owner))
    limits = {key: limits for key, _, _, limits in found}
    standings = await call.services.limits.standings(limits)
    items = [
        shapes.limit_standing_out(owner, kind, of, one, standing)
        for (_, kind, of, one), standing in zip(found, standings, strict=True)
    ]
    return answer(200, shapes.LimitsStandingOut(items=items, next_cursor=None))


_Found = tuple[str, str, str, Limits]
"""Its key, what has it, by which name, and the limit."""


def _of_accounts(accounts: Sequence[Account]) -> Iterator[_Found]:
    for one in accounts:
        if one.limits.is_set:
            yield account_limit(one.key), "account", one.id, one.limits


def _of_tenant(tenant: Tenant) -> Iterator[_Found]:
    if tenant.limits.is_set:
        yield tenant_limit(tenant.id), "tenant", tenant.id, tenant.limits
    for domain, limits in sorted(tenant.domain_limits.items()):
        if limits.is_set:
            yield domain_limit(tenant.id, domain), "domain", domain, limits
