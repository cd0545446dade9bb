"""Client errors: what a client raises where a call has no success, the relay's own problem or why there was no answer.

The one place where errors of aiohttp become ours. Programs import these from `sidecar_api.client`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

import aiohttp
import orjson

from relay.errors import Violation


class ApiError(Exception):
    """The relay's answer where it is none of success. `code` is the stable word of the problem."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        violations: tuple[Violation, ...] = (),
        *,
        retry_after: int | None = None,
        request_id: str | None = None,
        parts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.violations = violations
        self.retry_after = retry_after
        """Seconds, where the relay says when to try again."""
        self.request_id = request_id
        self.parts = parts or {}
        """What is ill, by part, where a relay is not ready."""


class Unreachable(ConnectionError):
    """Nothing answers where the relay should be; nothing is known of what was asked."""


class Untrusted(Unreachable):
    """What answers there could not show that it is the relay: its certificate is not trusted."""


class NotARelay(Unreachable):
    """What answers there speaks another protocol: no TLS at an https URL, no HTTP at any."""


def problem_of(response: aiohttp.ClientResponse, octets: bytes) -> ApiError:
    """What the body of an answer says that is none of success."""
    parts: Mapping[str, str] = {}
    try:
        problem = orjson.loads(octets)
        violations = tuple(Violation(one["path"], one["detail"]) for one in problem.get("violations", ()))
        code, title, detail = problem["code"], problem["title"], problem["detail"]
        parts = problem.get("parts", parts)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):  # not our relay, or a proxy before it
        code, title, violations = "not_a_problem", response.reason or "", ()
        detail = f"{response.status} {title} is not an answer of this API: is it the relay's URL?"
    retry_after = response.headers.get("Retry-After", "")
    return ApiError(
        response.status,
        code,
        title,
        detail,
        violations,
        retry_after=int(retry_after) if retry_after.isdecimal() else None,
        request_id=response.headers.get("X-Request-ID"),
        parts=parts,
    )


def unanswered(fault: Exception, where: str) -> OSError:
    """Why nothing answered at `where`, a URL or the path of a socket."""
    if isinstance(getattr(fault, "os_error", fault), PermissionError):
        return PermissionError(errno.EACCES, "permission denied", where)
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        return Untrusted(f"the certificate of {where} is not trusted: {_reason(fault.certificate_error)}")
    if isinstance(fault, aiohttp.ClientSSLError):
        return NotARelay(f"no TLS with {where}: {_reason(fault.os_error)}; is it http, or another port?")
    if isinstance(fault, aiohttp.ClientResponseError):  # an answer that cannot be read
        return NotARelay(f"what answers at {where} does not speak HTTP; is it another port, or https?")
    return Unreachable(f"no answer from {where}: {_reason(getattr(fault, 'os_error', fault))}")


def _reason(fault: Exception) -> str:
    said = getattr(fault, "verify_message", "") or getattr(fault, "reason", "")
    if not said and isinstance(fault, OSError) and fault.errno:
        # Below zero are those of name resolution; the others' text would name asyncio's call.
        said = (os.strerror(fault.errno) if fault.errno > 0 else str(fault.strerror)).lower()
    return said or str(fault) or type(fault).__name__
