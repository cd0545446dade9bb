"""Routes to accounts."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import accounts
from sidecar_api.route import Group, act, create, delete, get, patch, settings
from sidecar_api.schemas.accounts import AccountIn, AccountOut, AccountPatch, AccountsOut
from sidecar_api.schemas.instance import ProbeOut

GROUP = Group(
    "accounts",
    "The ways out: next hop, authentication, limits. Passwords go in and never come out.",
    (
        get("/v1/accounts", accounts.list_accounts, AccountsOut, "List accounts"),
        create("/v1/accounts", accounts.add_account, AccountIn, AccountOut, "Make an account"),
        settings("/v1/accounts/{id}", accounts.show_account, AccountOut, "Show an account"),
        patch("/v1/accounts/{id}", accounts.change_account, AccountPatch, AccountOut, "Change an account"),
        delete("/v1/accounts/{id}", accounts.delete_account, "Delete an account", tagged=True),
        act(
            "/v1/accounts/{id}/enable",
            accounts.enable_account,
            AccountOut,
            "Let its mail go again",
            access=Access.MANAGE,
        ),
        act(
            "/v1/accounts/{id}/disable",
            accounts.disable_account,
            AccountOut,
            "Keep what waits for it, and take no new mail for it",
            access=Access.MANAGE,
        ),
        act(
            "/v1/accounts/{id}/test",
            accounts.test_account,
            ProbeOut,
            "Test it for real: connect, secure, authenticate",
            access=Access.MANAGE,
        ),
    ),
)
