"""The processes of a relay with workers, as the system shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from tests.support.relay_process import RelayProcess

_ESTABLISHED = "01"
"""As /proc/net/tcp writes it (include/net/tcp_states.h)."""


def workers_of(relay: RelayProcess) -> list[int]:
    """The pids of the workers, in the order of their start."""
    assert relay.process is not None
    parent = relay.process.pid
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def clients_of(pid: int, ports: Collection[int]) -> int:
    """How many connections a process holds open to these ports of its own."""
    held = {link for link in map(_target, Path(f"/proc/{pid}/fd").iterdir()) if link.startswith("socket:")}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        state == _ESTABLISHED and int(local.rpartition(":")[2], 16) in ports and f"socket:[{inode}]" in held
        for _, local, _, state, _, _, _, _, _, inode, *_ in rows
    )


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # closed while we looked
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs still; what has ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def ask(relay: RelayProcess, number: int, question: str) -> str:
    """What one worker answers to the others."""
    reader, writer = await asyncio.open_unix_connection(relay.directory / "data" / f"w{number}.sock")
    writer.write(f"{question}\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


def figure(exposition: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(
        float(line.rpartition(" ")[2]) for line in exposition.splitlines() if line.split("{")[0].split(" ")[0] == name
    )
