"""The command log, as the API asks for it and shows it."""

from __future__ import annotations

from typing import Any

import orjson
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.command import Command
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example


@example(
    {
        "sequence": 812,
        "at": "2026-01-01T09:00:00Z",
        "actor": "t-5f3a",
        "tenant": "acme",
        "peer": "192.0.2.7",
        "request_id": "0d5b7f1c2a9e4c38",
        "operation": "change_account",
        "method": "PATCH",
        "path": "/v1/accounts/out",
        "status": 200,
        "body": {"password": "***"},
    }
)
@exact
class CommandOut(TypedDict):
    """What somebody did. `peer` null is the command line on the machine; secrets in `body` are masked."""

    sequence: int
    at: str
    actor: str
    tenant: str | None
    peer: str | None
    request_id: str
    operation: str
    method: str
    path: str
    status: int
    body: dict[str, Any] | None


@exact
class CommandsOut(TypedDict):
    """A page, newest first; `next_cursor` null is the last one."""

    items: list[CommandOut]
    next_cursor: str | None


@example({"removed": 120})
@exact
class RemovedOut(TypedDict):
    """How many were removed."""

    removed: int


def command_out(command: Command) -> CommandOut:
    """One."""
    return CommandOut(
        sequence=command.sequence,
        at=rfc3339(command.at),
        actor=command.actor,
        tenant=command.tenant,
        peer=command.peer,
        request_id=command.request_id,
        operation=command.operation,
        method=command.method,
        path=command.path,
        status=command.status,
        body=None if command.body is None else orjson.loads(command.body),
    )
