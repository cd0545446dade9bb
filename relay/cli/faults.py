"""Faults: what an exception means to the shell, in one table. Imported only once something heavy is imported anyway."""

from __future__ import annotations

from relay.cli.exits import Exit, Failure, exit_of_status
from relay.errors import ConfigError, RelayError, StoreError, StoreUnavailable, Violation
from sidecar_api.client import ApiError, NotARelay, Untrusted

EXPECTED = (ApiError, RelayError, OSError)
"""What a command may meet without being wrong itself."""


def failure_of(fault: Exception, where: str) -> Failure:
    """The Failure of an EXPECTED exception: its exit code, what was wrong, what to do. `where`: a data directory or URL."""
    match fault:
        case ApiError():
            return Failure(exit_of_status(fault.status), _explain(fault))
        case ConfigError() | StoreError():
            return Failure(Exit.CONFIG, str(fault))
        case StoreUnavailable():
            return Failure(Exit.TEMPORARY, f"the store does not answer: {fault}; try again later")
        case RelayError():
            return Failure(Exit.FAILED, str(fault))
        case PermissionError(filename=path):
            return Failure(Exit.NO_PERMISSION, f"{path or where}: permission denied; run this as the relay's user")
        case Untrusted():
            return Failure(Exit.UNAVAILABLE, f"{fault}; --ca-file names the authorities to be trusted")
        case NotARelay():
            return Failure(Exit.UNAVAILABLE, str(fault))
        case _ if "://" in where:
            return Failure(Exit.UNAVAILABLE, f"{fault}; is the relay running, and this its URL?")
        case _:
            return Failure(Exit.UNAVAILABLE, f"the relay of {where} cannot be reached: {fault}")


_ADVICE = {
    "token_required": "give one by --token-file or STAGEPOST_TOKEN",
    "bad_token": "make one on the relay's machine with stagepost tokens add",
    "admin_only": "stagepost tokens add NAME --admin makes one on the relay's machine",
    "no_such_route": "the relay may be older than this command",
}
"""What to do about a problem, where the problem's own words do not say it to somebody at a command line."""


def _tell(violation: Violation) -> str:
    """A fault with its place; a parameter of the query is an option here."""
    path, detail = violation.path, violation.detail
    place = f"--{path[1:].replace('_', '-')}" if path.startswith("?") else path
    return f"{place}: {detail}" if place else detail


def _explain(fault: ApiError) -> str:
    said = fault.detail or fault.title
    if fault.code == "token_required":
        said = "this relay asks for a token"
    if fault.violations:
        told = [_tell(violation) for violation in fault.violations]
        # A single fault says by itself what the whole only counts or repeats.
        said = told[0] if len(told) == 1 else f"{said}: {'; '.join(told)}"
    if fault.parts:
        said += ": " + "; ".join(f"{part}: {reason}" for part, reason in fault.parts.items())
    if advice := _ADVICE.get(fault.code):
        said += f"; {advice}"
    if fault.status >= 500 and fault.request_id and fault.code == "internal":
        said += f" ({fault.request_id})"
    if fault.retry_after is not None:
        said += f"; try again in {fault.retry_after} s"
    return said
