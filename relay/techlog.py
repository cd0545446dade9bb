"""The technical log: what goes wrong inside, beside the mail log and in the same form; standard library's logging."""

from __future__ import annotations

import logging
import sys
import traceback

import orjson

from relay.clock import rfc3339
from relay.maillog import LogFormat


class _Lines(logging.Formatter):
    """`time - warning logger: text`, a traceback indented behind it; or the same as one JSON object."""

    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._json = form is LogFormat.JSON

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        at = rfc3339(int(record.created * 1_000_000))
        text = record.getMessage()
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info and record.exc_info[0] else ""
        if self._json:
            line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "text": text}
            return orjson.dumps(line | ({"traceback": trace} if trace else {})).decode()
        text = text.replace("\r", "\\r").replace("\n", "\\n")
        indented = "".join(f"\n  {line}" for line in trace.splitlines())
        return f"{at} - {record.levelname.lower()} {record.name}: {text}{indented}"


def set_up_logging(form: LogFormat, level: str) -> None:
    """Everything to standard error. Some loggers are kept quiet: aiosmtpd writes credentials at INFO, aiosqlite values."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for quiet in ("mail.log", "asyncio", "aiosqlite"):
        logging.getLogger(quiet).setLevel(logging.ERROR)
    if level != "debug":  # the mail log tells of every message; a line for each request would tell it twice
        logging.getLogger("sidecar_api.app.access").setLevel(logging.WARNING)
