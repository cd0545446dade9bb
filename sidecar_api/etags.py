"""Entity tags (RFC 9110 §8.8.3, §13.1): settings are read with one, and changed only as they were read.

A strong tag is made of the answer's octets, unless the handler has made one of less: when a token was last used is no
setting, and keeps nobody from changing it. A route that is `tagged` in the table has it set, and `If-None-Match`
answered, by the application; a handler that changes or deletes calls `must_match` with the thing as it stands.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import orjson
from aiohttp import hdrs, web

from sidecar_api.problems import ProblemError

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_OF_CODING = re.compile(r"-(?:gzip|deflate)$")
"""What `sidecar_api.coding` adds to the tag of a compressed answer."""


def etag_of(octets: bytes) -> str:
    """A strong tag, with its quotes."""
    return f'"{blake2b(octets, digest_size=12).hexdigest()}"'


def must_match(request: web.Request, shown: object) -> None:
    """ProblemError 412 where the client changes something (`shown`, as GET would answer) that it read otherwise.

    To be called where the change is made, inside its transaction, so that two clients with one tag cannot both succeed.
    """
    wanted = ",".join(request.headers.getall(hdrs.IF_MATCH, ()))
    if not wanted or wanted.strip() == "*":
        return
    current = etag_of(orjson.dumps(shown))
    if not any(_OF_CODING.sub("", tag) == current.strip('"') for weak, tag in _TAG.findall(wanted) if not weak):
        raise ProblemError(
            412,
            "changed_meanwhile",
            "it is not as it was read (If-Match): read it again",
            {hdrs.ETAG: current},
            at=hdrs.IF_MATCH,
        )


def tag(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The answer with its tag; 304 where the client has it already."""
    if not isinstance(response, web.Response) or response.status != 200 or not isinstance(response.body, bytes):
        return response
    current = response.headers.setdefault(hdrs.ETAG, etag_of(response.body))
    response.headers[hdrs.CACHE_CONTROL] = "private, no-cache"
    asked = request.method in {hdrs.METH_GET, hdrs.METH_HEAD}
    known = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ())) if asked else ""
    if known.strip() == "*" or any(_OF_CODING.sub("", one) == current.strip('"') for _, one in _TAG.findall(known)):
        return web.Response(status=304, headers={hdrs.ETAG: current, hdrs.CACHE_CONTROL: "private, no-cache"})
    return response
