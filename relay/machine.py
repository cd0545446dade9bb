"""Machine: what this machine lets the process have: memory, file descriptors, room on disk.

Read from /proc and /sys, in ways that a hardened unit (ProcSubset=pid) leaves open; where a system has none of them, the
answer is "no limit is known" and the other bounds hold alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MEMORY_SHARE = 0.75
"""Of what the machine or its cgroup allows: what the process may use before the doors refuse mail."""
DESCRIPTOR_SHARE = 0.7
"""Of the descriptors: for what comes and goes. The rest is the store's, and the margin."""
MOST_DESCRIPTORS = 1 << 20
_PER_MAIL = 2
"""Descriptors of a connection that carries mail: its socket, and the file in the spool."""

_STATM = Path("/proc/self/statm")
_CGROUPS = Path("/sys/fs/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Places:
    """How many connections each door may have, and how many attempts there may be at once."""

    smtp: int
    api: int
    attempts: int


def share_out(descriptors: int, wanted: Places) -> Places:
    """What is wanted where it fits into `descriptors`, else each its part of what there is."""
    need = _PER_MAIL * (wanted.smtp + wanted.attempts) + wanted.api
    share = min(1.0, descriptors * DESCRIPTOR_SHARE / need)
    return Places(*(max(1, int(count * share)) for count in (wanted.smtp, wanted.api, wanted.attempts)))


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def free_space(path: Path) -> int:
    """Octets that may still be written there."""
    figures = os.statvfs(path)
    return figures.f_bavail * figures.f_frsize


def resident_memory() -> int:
    """Octets of ours in memory (20 µs); 0 where that cannot be read."""
    try:
        return int(_STATM.read_bytes().split(None, 2)[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def give_back_memory() -> None:
    """Have what is free inside the process go back to the system: tens of milliseconds, for when memory is short."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # musl has no such thing, and needs none
        ctypes.CDLL(None).malloc_trim(0)


def memory_limit(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Octets that the machine has, or that a cgroup around us allows."""
    return min([os.sysconf("SC_PHYS_PAGES") * _PAGE, *_cgroup_limits(cgroups, own)])


def _cgroup_limits(cgroups: Path, own: Path) -> Iterator[int]:
    """Of our cgroup and all above it (version 2, then 1). A container sees its own as the root."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names: tuple[str, ...]
        if not controllers:
            root, names = cgroups, ("memory.max", "memory.high")
        elif "memory" in controllers.split(","):
            root, names = cgroups / "memory", ("memory.limit_in_bytes",)
        else:
            continue
        place = root / path.lstrip("/")
        for folder in (place, *place.parents):
            for name in names:
                with contextlib.suppress(OSError, ValueError):  # not there, or the word "max"
                    yield int((folder / name).read_text())
            if folder == root:
                break
