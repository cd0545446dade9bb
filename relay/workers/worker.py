"""Worker: one process's part of what the processes of an instance share, and what the parent makes for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relay.clock import SystemClock
from relay.workers import connections, depth, wakes
from relay.workers.share import Share


@dataclass(frozen=True, slots=True)
class Worker:
    """`number` is kept by the process that follows it when it dies, `life` is not."""

    number: int
    life: int
    count: int
    directory: Path
    share: Share
    wakes: wakes.Seat
    connections: connections.Seat
    depth: depth.Seat
    since: int
    """When the instance was started."""

    @property
    def is_first(self) -> bool:
        """It does the instance's chores."""
        return self.number == 0

    def holder(self, instance: str, life: int | None = None, number: int | None = None) -> str:
        """The name under which a life of a worker holds leases; this one's, or another's."""
        number = self.number if number is None else number
        return f"{instance}.{number}.{self.life if life is None else life}"

    def former(self, instance: str) -> str:
        """What the names of this worker's former lives begin with."""
        return f"{instance}.{self.number}"


class Shared:
    """Made by the parent before it starts the first worker."""

    def __init__(self, count: int, directory: Path, max_connections: int, max_connections_per_client: int) -> None:
        self._count = count
        self._directory = directory
        self._since = SystemClock().now()
        self._wakes = wakes.Wakes(count)
        self._connections = connections.Connections(count, max_connections, max_connections_per_client)
        self.depth = depth.Depth(count)
        self.clear()

    def worker(self, number: int, life: int) -> Worker:
        """For a worker that is being started."""
        return Worker(
            number,
            life,
            self._count,
            self._directory,
            Share(number, self._count),
            self._wakes.seat(number),
            self._connections.seat(number),
            self.depth.seat(number),
            self._since,
        )

    def bury(self, number: int) -> None:
        """A worker has died: its connections are none."""
        self._connections.forget(number)

    def clear(self) -> None:
        """Remove what workers of a former life, or of this one at its end, left in the data directory."""
        for path in (*self._directory.glob("w*.sock"), *self._directory.glob("w*.metrics")):
            if path.stem[1:].isdigit():
                path.unlink(missing_ok=True)
