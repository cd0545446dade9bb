"""A relay whose disk fails: from SIGUSR1 on the kernel answers every fsync and fdatasync of the process with EIO.

A seccomp filter, which any process may lay upon itself and all its threads (Linux, seccomp(2)). It cannot be taken off, nor
does it have to be: run as `python -m tests.support.failing_sync serve --config FILE`, in place of `stagepost serve`. The
writer of SQLite is run in the same way, and the signal handed on to it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import struct
import sys
from pathlib import Path

NUMBERS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}
"""Of the system calls seccomp, fsync and fdatasync."""

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def fail_from_now_on(*_: object) -> None:
    """Lay the filter upon this process and those that it has started."""
    pid = os.getpid()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGUSR1)
    seccomp, fsync, fdatasync = NUMBERS[platform.machine()]
    steps = [
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 1, 0, fsync),
        (_JUMP_IF_EQUAL, 0, 1, fdatasync),
        (_RETURN, 0, 0, _ERRNO | errno.EIO),
        (_RETURN, 0, 0, _ALLOW),
    ]
    octets = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(octets, len(octets))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), ctypes.addressof(buffer))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if __name__ == "__main__":
    from relay.cli.main import main
    from storage import sqlite_writer, writer_process

    signal.signal(signal.SIGUSR1, fail_from_now_on)
    if sys.argv[1] == "writer":
        sqlite_writer.serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        writer_process.COMMAND = (sys.executable, "-m", "tests.support.failing_sync", "writer")
        main()
