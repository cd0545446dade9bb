"""Exit codes, after sysexits.h, and which of them an error of the API means: the one table of both."""

from __future__ import annotations

from enum import IntEnum

import click


class Exit(IntEnum):
    """What the shell is told."""

    OK = 0
    FAILED = 1
    USAGE = 64
    DATA = 65
    UNAVAILABLE = 69
    IO_ERROR = 74
    TEMPORARY = 75
    NO_PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "refused: no such thing, a conflict, a failed test",
    Exit.USAGE: "the command line is wrong (EX_USAGE)",
    Exit.DATA: "the input is wrong (EX_DATAERR)",
    Exit.UNAVAILABLE: "the relay cannot be reached (EX_UNAVAILABLE)",
    Exit.IO_ERROR: "what was written did not reach the disk: start again (EX_IOERR)",
    Exit.TEMPORARY: "not now, try again later (EX_TEMPFAIL)",
    Exit.NO_PERMISSION: "not allowed (EX_NOPERM)",
    Exit.CONFIG: "the configuration or the store cannot be used (EX_CONFIG)",
    Exit.INTERRUPTED: "interrupted",
}

_STATUSES: dict[int, Exit] = {
    400: Exit.DATA,
    401: Exit.NO_PERMISSION,
    403: Exit.NO_PERMISSION,
    408: Exit.TEMPORARY,
    413: Exit.DATA,
    415: Exit.DATA,
    422: Exit.DATA,
    429: Exit.TEMPORARY,
    502: Exit.UNAVAILABLE,
    503: Exit.TEMPORARY,
    504: Exit.UNAVAILABLE,
}


def exit_of_status(status: int) -> Exit:
    """What an HTTP status of the API means to the shell."""
    return _STATUSES.get(status, Exit.FAILED)


class Failure(click.ClickException):
    """A command that failed: one line for people, and the exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def epilog() -> str:
    """The table, for --help."""
    rows = "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())
    return f"\b\nExit codes:\n{rows}"
