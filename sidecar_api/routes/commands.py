"""Routes to the command log."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import commands
from sidecar_api.route import COMMON, Group, Route, get
from sidecar_api.schemas.commands import CommandsOut, RemovedOut
from sidecar_api.schemas.queries import CommandsQuery, PurgeQuery

GROUP = Group(
    "commands",
    "The command log: who did what by this API and the command line, from where, with secrets masked.",
    (
        get(
            "/v1/commands",
            commands.list_commands,
            CommandsOut,
            "List commands",
            access=Access.MANAGE,
            query=CommandsQuery,
        ),
        get(
            "/v1/commands/export",
            commands.export_commands,
            commands.NDJSON,
            "Export commands as JSON lines",
            access=Access.MANAGE,
            query=CommandsQuery,
        ),
        Route(
            "DELETE",
            "/v1/commands",
            commands.purge_commands,
            Access.ADMIN,
            "Forget commands before a time",
            {200: RemovedOut},
            PurgeQuery,
            problems=COMMON,
        ),
    ),
)
