"""The processes of a relay with workers, as the system shows them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.relay_process import RelayProcess


def workers_of(relay: RelayProcess) -> list[int]:
    """The pids of the workers, in the order of their start."""
    assert relay.process is not None
    parent = relay.process.pid
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


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
