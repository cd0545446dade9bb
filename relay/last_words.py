"""Last words: the end of a process that can keep nothing any more (storage.durability); who started it starts it again."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from relay.maillog import MailLog

EX_IOERR = 74
"""The exit code, after sysexits.h: worth another start, unlike that of a wrong configuration."""
TO_SPEAK = 0.5
"""Seconds in which those who wait hear 451 or 503."""

log = logging.getLogger(__name__)


def end_process(reason: str, mail_log: MailLog) -> None:
    """Say why, and end as by a crash: closing the store in good order would touch what must be left as it is."""
    log.critical("%s: this process can keep no mail and ends; the next one begins with what is on disk", reason)
    asyncio.get_running_loop().call_later(TO_SPEAK, _end, mail_log)


def _end(mail_log: MailLog) -> None:
    mail_log.flush()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(EX_IOERR)
