"""Request ids: the client's where it sends a well-formed one, else ours; in every answer, every problem and the log."""

from __future__ import annotations

import itertools
import os
import re
import secrets

from aiohttp import web

REQUEST_ID = "X-Request-ID"
SERVER = "Stagepost"
"""What every answer says of its server: no versions."""

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PREFIX = secrets.token_hex(4)
_COUNTER = itertools.count(1)


def _begin_anew() -> None:
    """A worker is not the process that it was forked from."""
    global _PREFIX
    _PREFIX = secrets.token_hex(4)


os.register_at_fork(after_in_child=_begin_anew)


def request_id_of(request: web.BaseRequest) -> str:
    """The id for a request."""
    given = request.headers.get(REQUEST_ID)
    return given if given is not None and _GIVEN.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """An id of ours."""
    return f"{_PREFIX}-{next(_COUNTER):x}"
