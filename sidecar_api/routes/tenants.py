"""Routes to tenants."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import suspensions, tenants
from sidecar_api.route import Group, act, create, delete, get, patch, settings
from sidecar_api.schemas import tenants as shapes
from sidecar_api.schemas.queries import NoQuery, ResumeQuery
from sidecar_api.schemas.suspensions import SuspensionOut
from sidecar_api.schemas.tokens import IssuedTokenOut

GROUP = Group(
    "tenants",
    "The organisations that share the instance; nothing crosses from one to another.",
    (
        get(
            "/v1/tenants",
            tenants.list_tenants,
            shapes.TenantsOut,
            "List tenants",
            access=Access.ADMIN_READ,
            query=NoQuery,
        ),
        create(
            "/v1/tenants",
            tenants.add_tenant,
            shapes.TenantIn,
            IssuedTokenOut,
            "Make a tenant with a first token",
            access=Access.ADMIN,
            query=NoQuery,
        ),
        settings(
            "/v1/tenants/{id}",
            tenants.show_tenant,
            shapes.TenantOut,
            "Show a tenant; a tenant's token shows its own",
            query=NoQuery,
        ),
        patch(
            "/v1/tenants/{id}",
            tenants.change_tenant,
            shapes.TenantPatch,
            shapes.TenantOut,
            "Change a tenant",
            access=Access.ADMIN,
            query=NoQuery,
        ),
        delete(
            "/v1/tenants/{id}",
            tenants.delete_tenant,
            "Delete a tenant with all it owns",
            access=Access.ADMIN,
            query=NoQuery,
            tagged=True,
        ),
        act(
            "/v1/tenants/{id}/suspend",
            suspensions.suspend_tenant,
            SuspensionOut,
            "Stop all its mail; what is attempted at this moment is finished",
            access=Access.MANAGE,
            query=NoQuery,
        ),
        act(
            "/v1/tenants/{id}/resume",
            suspensions.resume_tenant,
            SuspensionOut,
            "Resume its mail, but for batches that were suspended by themselves",
            access=Access.MANAGE,
            query=ResumeQuery,
        ),
    ),
)
