"""Routes to accounts."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import accounts
from sidecar_api.route import Group, act, create, delete, get
from sidecar_api.schemas.directory import AccountIn, AccountOut, AccountsOut
from sidecar_api.schemas.instance import ProbeOut

GROUP = Group(
    "accounts",
    "The ways out: next hop, authentication, limits. Passwords go in and never come out.",
    (
        get("/v1/accounts", accounts.list_accounts, AccountsOut, "List accounts"),
        create("/v1/accounts", accounts.add_account, AccountIn, AccountOut, "Make an account"),
        get("/v1/accounts/{id}", accounts.show_account, AccountOut, "Show an account"),
        delete("/v1/accounts/{id}", accounts.delete_account, "Delete an account"),
        act(
            "/v1/accounts/{id}/test",
            accounts.test_account,
            ProbeOut,
            "Test it for real: connect, secure, authenticate",
            access=Access.MANAGE,
        ),
    ),
)
