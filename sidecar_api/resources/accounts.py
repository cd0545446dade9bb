"""Accounts: the ways out."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from relay.errors import Invalid, Violation
from relay.model.tenant import Account
from sidecar_api.auth import one_owner, owner_or_any
from sidecar_api.call import Call, answer, no_content
from sidecar_api.etags import must_match
from sidecar_api.schemas import accounts as shapes
from sidecar_api.schemas.instance import probe_out
from sidecar_api.schemas.queries import TenantQuery


async def list_accounts(call: Call) -> web.Response:
    """GET /v1/accounts."""
    directory = call.services.directory
    accounts = await directory.accounts(await owner_or_any(call.caller, call.asked(TenantQuery).tenant, directory))
    return answer(200, shapes.AccountsOut(items=[shapes.account_out(one) for one in accounts], next_cursor=None))


async def add_account(call: Call) -> web.Response:
    """POST /v1/accounts."""
    wanted = call.given(shapes.AccountIn)
    owner = await _owner(call)
    account = Account(
        tenant=owner,
        id=wanted.id,
        kind=shapes.KINDS[wanted.kind],
        host=wanted.host or "",
        port=wanted.port,
        tls=shapes.TLS_MODES[wanted.tls],
        user=wanted.user,
        password=wanted.password,
        max_connections=wanted.max_connections,
        max_messages_per_connection=wanted.max_messages_per_connection,
        limits=wanted.limits.limits(),
        batch_size=wanted.batch_size,
        on_unknown=shapes.ON_UNKNOWN[wanted.on_unknown],
        retry=wanted.retry.settings(),
        guarded=not call.caller.is_admin,
        enabled=wanted.enabled,
        created_at=call.services.clock.now(),
    )
    await call.services.directory.add_account(account, default=wanted.default)
    return answer(201, shapes.account_out(account), {"Location": f"/v1/accounts/{account.id}"})


async def _owner(call: Call) -> str:
    return await one_owner(call.caller, call.asked(TenantQuery).tenant, call.services.directory)


async def show_account(call: Call) -> web.Response:
    """GET /v1/accounts/{id}."""
    return answer(200, shapes.account_out(await _account(call)))


async def _account(call: Call) -> Account:
    return await call.services.directory.owned_account(await _owner(call), call.named())


async def change_account(call: Call) -> web.Response:
    """PATCH /v1/accounts/{id}: mail that waits goes by it as it is from now on."""
    wanted = call.given(shapes.AccountPatch)
    by_tenant = not call.caller.is_admin

    def change(account: Account) -> Account:
        must_match(call.request, shapes.account_out(account))
        return settled(account, wanted.apply_to(account), "password" in wanted.model_fields_set, by_tenant=by_tenant)

    changed = await call.services.directory.change_account(await _owner(call), call.named(), change)
    return answer(200, shapes.account_out(changed))


def settled(before: Account, after: Account, has_password: bool, *, by_tenant: bool) -> Account:
    """An account as a client has changed it, with what follows for its login; Invalid where it may not be so.
    `has_password`: the client has said it again."""
    if after.user is None and not has_password:
        after = replace(after, password=None)
    moved = _address(after) != _address(before)
    if moved and by_tenant and before.password is not None and not has_password:
        raise Invalid(Violation("/password", "give it again: a password goes nowhere else than where it was meant for"))
    if (after.user is None) != (after.password is None):
        raise Invalid(Violation("/password", "user and password come together"))
    return replace(after, guarded=True) if moved and by_tenant else after


def _address(account: Account) -> tuple[str, int, str]:
    """Where its password goes, and how well kept."""
    return account.host, account.port, account.tls


async def enable_account(call: Call) -> web.Response:
    """POST /v1/accounts/{id}/enable."""
    return await _set_enabled(call, True)


async def disable_account(call: Call) -> web.Response:
    """POST /v1/accounts/{id}/disable: what waits for it goes on waiting, and new mail for it is refused."""
    return await _set_enabled(call, False)


async def _set_enabled(call: Call, enabled: bool) -> web.Response:
    changed = await call.services.directory.change_account(
        await _owner(call), call.named(), lambda account: replace(account, enabled=enabled)
    )
    return answer(200, shapes.account_out(changed))


async def delete_account(call: Call) -> web.Response:
    """DELETE /v1/accounts/{id}."""
    must_match(call.request, shapes.account_out(await _account(call)))
    await call.services.directory.delete_account(await _owner(call), call.named())
    return no_content()


async def test_account(call: Call) -> web.Response:
    """POST /v1/accounts/{id}/test: connects, secures, authenticates, says goodbye. If that works, its mail goes at once."""
    found = await call.services.probe.probe(await _account(call))
    if found.ok:
        await call.services.directory.note_mended()
    return answer(200, probe_out(found))
