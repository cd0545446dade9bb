"""Routes of genro-mail-proxy 0.6: a part of the route table, in groups as its clients know them."""

from __future__ import annotations

from pydantic import BaseModel

from sidecar_api.auth import Access
from sidecar_api.dialect import Dialect
from sidecar_api.genro.resources import accounts, command_log, instance, queue, submissions, tenants
from sidecar_api.genro.schemas import accounts as account_shapes
from sidecar_api.genro.schemas import command_log as log_shapes
from sidecar_api.genro.schemas import commands, listing
from sidecar_api.genro.schemas import instance as instance_shapes
from sidecar_api.genro.schemas import tenants as tenant_shapes
from sidecar_api.genro.schemas.messages import GenroMessagesIn
from sidecar_api.genro.schemas.queries import (
    GenroBatchQuery,
    GenroCommandsQuery,
    GenroExportQuery,
    GenroMessagesQuery,
    GenroTenantQuery,
    GenroTenantsQuery,
)
from sidecar_api.route import BODY, COMMON, Group, Handler, Route
from sidecar_api.schemas.queries import NoQuery

_PUBLIC = frozenset({422})


def _row(
    method: str,
    path: str,
    handler: Handler,
    access: Access,
    out: type,
    summary: str,
    *,
    query: type[BaseModel] = NoQuery,
    body: type[BaseModel] | None = None,
    description: str = "",
) -> Route:
    problems = _PUBLIC if access is Access.PUBLIC else COMMON | (BODY if body else frozenset())
    return Route(
        method,
        path,
        handler,
        access,
        summary,
        {200: out},
        query,
        body,
        reads_itself=body is GenroMessagesIn,
        problems=problems,
        dialect=Dialect.GENRO,
        hands_in=body is GenroMessagesIn,
        description=description,
    )


_QUEUE = Group(
    "genro-queue",
    "The paths of genro-mail-proxy 0.6, for clients written for it: hand in, list, delete, stop and resume.",
    (
        _row(
            "POST",
            "/commands/add-messages",
            submissions.add_messages,
            Access.SEND,
            commands.GenroQueuedOut,
            "Hand in up to 1000 messages; each is accepted or refused by itself",
            body=GenroMessagesIn,
            description="What was refused is listed as failed, with the reason, if it has an id; it may be handed in again.",
        ),
        _row(
            "GET",
            "/messages",
            queue.list_messages,
            Access.READ,
            listing.GenroMessagesOut,
            "List all messages of a tenant",
            query=GenroMessagesQuery,
        ),
        _row(
            "POST",
            "/commands/delete-messages",
            queue.delete_messages,
            Access.MANAGE,
            commands.GenroDeletedOut,
            "Take messages back and delete them",
            query=GenroTenantQuery,
            body=commands.GenroDeleteIn,
        ),
        _row(
            "POST",
            "/commands/cleanup-messages",
            queue.cleanup_messages,
            Access.MANAGE,
            commands.GenroRemovedOut,
            "Delete messages that have been closed for long",
            query=GenroTenantQuery,
            body=commands.GenroCleanupIn,
        ),
        _row(
            "POST",
            "/commands/run-now",
            queue.run_now,
            Access.SEND,
            commands.GenroOkOut,
            "Send what is due, which is on its way in any case",
        ),
        _row(
            "POST",
            "/commands/suspend",
            queue.suspend,
            Access.MANAGE,
            commands.GenroSuspensionOut,
            "Stop a batch, or all mail of a tenant",
            query=GenroBatchQuery,
        ),
        _row(
            "POST",
            "/commands/activate",
            queue.activate,
            Access.MANAGE,
            commands.GenroSuspensionOut,
            "Resume a batch, or all mail of a tenant",
            query=GenroBatchQuery,
        ),
    ),
)

_SETTINGS = Group(
    "genro-settings",
    "Its accounts and tenants. What is not named stays as it is.",
    (
        _row(
            "POST",
            "/account",
            accounts.put_account,
            Access.MANAGE,
            commands.GenroOkOut,
            "Make an account, or change one",
            body=account_shapes.GenroAccountIn,
        ),
        _row(
            "GET",
            "/accounts",
            accounts.list_accounts,
            Access.READ,
            account_shapes.GenroAccountsOut,
            "List accounts of a tenant",
            query=GenroTenantQuery,
        ),
        _row(
            "DELETE",
            "/account/{id}",
            accounts.delete_account,
            Access.MANAGE,
            commands.GenroOkOut,
            "Delete an account for which no mail waits",
            query=GenroTenantQuery,
        ),
        _row(
            "POST",
            "/tenant",
            tenants.put_tenant,
            Access.ADMIN,
            tenant_shapes.GenroTenantKeyOut,
            "Make a tenant with its token, or change one",
            body=tenant_shapes.GenroTenantIn,
        ),
        _row(
            "GET",
            "/tenants",
            tenants.list_tenants,
            Access.ADMIN_READ,
            tenant_shapes.GenroTenantsOut,
            "List all tenants",
            query=GenroTenantsQuery,
        ),
        _row(
            "GET",
            "/tenants/sync-status",
            tenants.show_sync_status,
            Access.ADMIN_READ,
            tenant_shapes.GenroSyncsOut,
            "When the servers of tenants were called",
        ),
        _row("GET", "/tenant/{id}", tenants.show_tenant, Access.READ, tenant_shapes.GenroTenantOut, "Show one tenant"),
        _row(
            "PUT",
            "/tenant/{id}",
            tenants.change_tenant,
            Access.MANAGE,
            commands.GenroOkOut,
            "Change what a tenant has on its own side; its limits are an admin's to change",
            body=tenant_shapes.GenroTenantChange,
        ),
        _row(
            "DELETE",
            "/tenant/{id}",
            tenants.delete_tenant,
            Access.ADMIN,
            commands.GenroOkOut,
            "Delete a tenant whose mail is closed, with all it owns",
        ),
        _row(
            "POST",
            "/tenant/{id}/api-key",
            tenants.make_key,
            Access.ADMIN,
            tenant_shapes.GenroKeyOut,
            "Give a tenant a new token in the place of the one made here before",
        ),
        _row(
            "DELETE",
            "/tenant/{id}/api-key",
            tenants.revoke_key,
            Access.ADMIN,
            commands.GenroOkOut,
            "Revoke the token that was made here",
        ),
    ),
)

_INSTANCE = Group(
    "genro-instance",
    "The instance itself, and its command log.",
    (
        _row(
            "GET",
            "/health",
            instance.show_health,
            Access.PUBLIC,
            instance_shapes.GenroHealthOut,
            "Whether it answers at all",
        ),
        _row("GET", "/status", instance.show_status, Access.READ, instance_shapes.GenroStatusOut, "Whether it sends"),
        _row(
            "GET",
            "/instance",
            instance.show_instance,
            Access.ADMIN_READ,
            instance_shapes.GenroInstanceOut,
            "Show the name and the bounce mailbox",
        ),
        _row(
            "PUT",
            "/instance",
            instance.change_instance,
            Access.ADMIN,
            commands.GenroOkOut,
            "Change the name and the bounce mailbox",
            body=instance_shapes.GenroInstanceIn,
        ),
        _row(
            "GET",
            "/instance/bounce",
            instance.show_bounce,
            Access.ADMIN_READ,
            instance_shapes.GenroBounceOut,
            "Show the bounce mailbox",
        ),
        _row(
            "PUT",
            "/instance/bounce",
            instance.change_bounce,
            Access.ADMIN,
            commands.GenroOkOut,
            "Change the bounce mailbox, which is kept and not read yet",
            body=instance_shapes.GenroBounceIn,
        ),
        _row(
            "GET",
            "/command-log",
            command_log.list_commands,
            Access.ADMIN,
            log_shapes.GenroCommandsOut,
            "List what was done",
            query=GenroCommandsQuery,
        ),
        _row(
            "GET",
            "/command-log/export",
            command_log.export_commands,
            Access.ADMIN,
            log_shapes.GenroReplaysOut,
            "Export what was done, all of it",
            query=GenroExportQuery,
        ),
    ),
)

GROUPS = (_QUEUE, _SETTINGS, _INSTANCE)
"""In the order of the reference."""
