"""Accounts: made or changed by one command."""

from __future__ import annotations

from aiohttp import web

from relay.errors import Conflict, NotFound
from relay.model.tenant import Account, AccountKind
from sidecar_api.call import Call, answer
from sidecar_api.genro.schemas import accounts as shapes
from sidecar_api.genro.schemas.commands import GenroOkOut
from sidecar_api.genro.schemas.queries import GenroTenantQuery
from sidecar_api.genro.whose import tenant_of
from sidecar_api.problems import ProblemError
from sidecar_api.resources.accounts import settled


async def put_account(call: Call) -> web.Response:
    """POST /account."""
    wanted = call.given(shapes.GenroAccountIn)
    tenant = await tenant_of(call, wanted.tenant_id, "/tenant_id")
    directory, by_tenant = call.services.directory, not call.caller.is_admin
    has_password = "password" in wanted.model_fields_set

    def change(account: Account) -> Account:
        if account.kind is not AccountKind.SMTP:
            raise Conflict(f"account {account.id} is of kind {account.kind}: change it by /v1/accounts")
        return settled(account, wanted.applied_to(account), has_password, by_tenant=by_tenant)

    try:
        await directory.change_account(tenant, wanted.id, change)
    except NotFound:
        new = wanted.new(tenant, guarded=by_tenant, at=call.services.clock.now())
        await directory.add_account(settled(new, new, has_password, by_tenant=by_tenant), default=False)
    return answer(200, GenroOkOut(ok=True))


async def list_accounts(call: Call) -> web.Response:
    """GET /accounts."""
    tenant = await tenant_of(call, call.asked(GenroTenantQuery).tenant_id)
    found = await call.services.directory.accounts(tenant)
    return answer(200, shapes.GenroAccountsOut(ok=True, accounts=[shapes.account_out(one) for one in found]))


async def delete_account(call: Call) -> web.Response:
    """DELETE /account/{id}: not while mail waits for it, which would have no way out."""
    tenant = await tenant_of(call, call.asked(GenroTenantQuery).tenant_id)
    try:
        await call.services.directory.delete_account(tenant, call.named())
    except (NotFound, Conflict) as fault:
        raise ProblemError(400, "not_deleted", str(fault)) from None
    return answer(200, GenroOkOut(ok=True))
