"""The command log, as genro-mail-proxy shows it."""

from __future__ import annotations

from typing import Any

import orjson
from typing_extensions import TypedDict

from relay.clock import SECOND
from relay.model.command import Command
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of


@example(
    {
        "id": 812,
        "command_ts": 1767258000,
        "endpoint": "POST /account",
        "tenant_id": "acme",
        "payload": {"id": "out", "password": "***"},
        "response_status": 200,
        "response_body": None,
    }
)
@exact
class GenroCommandOut(TypedDict):
    """What somebody did, by these paths or by `/v1`; secrets are masked."""

    id: int
    command_ts: int
    endpoint: str
    """Method and path."""
    tenant_id: str | None
    payload: dict[str, Any] | None
    response_status: int
    response_body: None
    """Not kept."""


@example({"ok": True, "commands": [example_of(GenroCommandOut)], "total": 1})
@exact
class GenroCommandsOut(TypedDict):
    """Some, newest first."""

    ok: bool
    commands: list[GenroCommandOut]
    total: int
    """How many these are."""


@example(
    {
        "endpoint": "POST /account",
        "tenant_id": "acme",
        "payload": {"id": "out", "password": "***"},
        "command_ts": 1767258000,
    }
)
@exact
class GenroReplayOut(TypedDict):
    """A command without what came of it."""

    endpoint: str
    tenant_id: str | None
    payload: dict[str, Any] | None
    command_ts: int


@example({"ok": True, "commands": [example_of(GenroReplayOut)]})
@exact
class GenroReplaysOut(TypedDict):
    """All that were asked for, newest first."""

    ok: bool
    commands: list[GenroReplayOut]


def endpoint_of(command: Command) -> str:
    """What clients tell commands by."""
    return f"{command.method} {command.path.partition('?')[0]}"


def _payload(command: Command) -> Any:
    return None if command.body is None else orjson.loads(command.body)


def command_out(command: Command) -> GenroCommandOut:
    """One."""
    return GenroCommandOut(
        id=command.sequence,
        command_ts=command.at // SECOND,
        endpoint=endpoint_of(command),
        tenant_id=command.tenant,
        payload=_payload(command),
        response_status=command.status,
        response_body=None,
    )


def replay_out(command: Command) -> GenroReplayOut:
    """One, as it would be done again."""
    return GenroReplayOut(
        endpoint=endpoint_of(command),
        tenant_id=command.tenant,
        payload=_payload(command),
        command_ts=command.at // SECOND,
    )
