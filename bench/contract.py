"""What a relay under test is given and what it gives back.

Every relay takes mail on a loopback port and passes all of it to the sink's port; that is the whole contract, so that
one load and one count serve for any of them.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.postfix_tools import PostfixTools


@dataclass(frozen=True)
class Setup:
    """What a relay is started with."""

    tools: PostfixTools
    directory: Path
    sink_port: int
    storage: str = "sqlite"
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    max_connections: int = 20
    peer_log: bool = False
    deferred: int = 0
    """Messages that lie deferred in the store when it starts."""


@dataclass(frozen=True)
class RunningRelay:
    """A relay that is ready: where it listens and whose resources are its own (None: not our child, not measured)."""

    port: int
    pid: int | None
    database_pid: int | None = None


RelayStarter = Callable[[Setup], AbstractContextManager[RunningRelay]]
"""Starts a relay afresh, yields it ready, and ends it with the block."""
