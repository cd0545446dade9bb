"""Faults: what an exception means to the shell, in one table. Imported only once something heavy is imported anyway."""

from __future__ import annotations

from pathlib import Path

from relay.cli.exits import Exit, Failure, exit_of_status
from relay.errors import ConfigError, RelayError, StoreError, StoreUnavailable
from sidecar_api.client import ApiError

EXPECTED = (ApiError, RelayError, OSError)
"""What a command may meet without being wrong itself."""


def failure_of(fault: Exception, data_dir: Path) -> Failure:
    """The Failure of an EXPECTED exception: its exit code, what was wrong, and what to do."""
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
            return Failure(Exit.NO_PERMISSION, f"{path or data_dir}: permission denied; run this as the relay's user")
        case _:
            return Failure(Exit.UNAVAILABLE, f"the relay of {data_dir} cannot be reached: {fault}")


def _explain(fault: ApiError) -> str:
    said = fault.detail or fault.title
    if fault.violations:
        said += ": " + "; ".join(f"{violation.path}: {violation.detail}" for violation in fault.violations)
    if fault.retry_after is not None:
        said += f"; try again in {fault.retry_after} s"
    return said
