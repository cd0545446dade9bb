"""The command log (relay.contracts.CommandLog): who did what by the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from relay.contracts.commands import CommandFilter
from relay.model.command import Command
from storage.database import Database
from storage.work import execute, fetch

NEWEST = 2**62
REMOVED_AT_ONCE = 500


class CommandLog:
    """Satisfies relay.contracts.CommandLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, command: Command) -> None:
        """See CommandLog."""
        await self._database.write(execute("insert_command", asdict(command)))

    async def commands(self, wanted: CommandFilter) -> Sequence[Command]:
        """See CommandLog."""
        statement = "commands_of_all" if wanted.tenant is None else "commands_of_tenant"
        values = {
            "tenant": wanted.tenant,
            "operation": wanted.operation,
            "actor": wanted.actor,
            "since": wanted.since,
            "until": wanted.until,
            "before": NEWEST if wanted.before is None else wanted.before,
            "count": wanted.limit,
        }
        return [Command(*row) for row in await self._database.read(fetch(statement, values))]

    async def remove_before(self, horizon: int) -> int:
        """See CommandLog."""
        removed = 0
        while some := await self._database.write(
            execute("delete_commands", {"horizon": horizon, "count": REMOVED_AT_ONCE})
        ):
            removed += some
        return removed
