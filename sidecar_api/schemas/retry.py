"""Retry settings of an account or a tenant, as the API reads and shows them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from relay.clock import show_duration
from relay.model.tenant import RetrySettings
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    DurationIn,
    Strict,
)
from sidecar_api.schemas.patch import Patch

_Schedule = Annotated[
    list[DurationIn],
    Field(min_length=1, max_length=100, description="the delay before each retry", examples=[["1m", "5m", "1h"]]),
    AfterValidator(tuple),
]
_Jitter = Annotated[
    float, Field(ge=0, le=0.5, strict=False, description="how far a delay may stray, as a share of itself")
]
_MaxAge = Annotated[DurationIn, Field(description="give up when a message is older", examples=["2d"])]
_MaxAttempts = Annotated[int, Field(ge=1, le=10_000, description="give up after so many attempts")]


class RetryIn(Strict):
    """How retries differ from the level above (account, then tenant, then instance); null is as there."""

    schedule: _Schedule | None = None
    jitter: _Jitter | None = None
    max_age: _MaxAge | None = None
    max_attempts: _MaxAttempts | None = None

    def settings(self) -> RetrySettings:
        """As the relay keeps them."""
        schedule = None if self.schedule is None else tuple(self.schedule)
        return RetrySettings(schedule, self.jitter, self.max_age, self.max_attempts)


class RetryPatch(Patch):
    """What can be changed of them; null takes the level above's again."""

    schedule: _Schedule | None = None
    jitter: _Jitter | None = None
    max_age: _MaxAge | None = None
    max_attempts: _MaxAttempts | None = None


@example({"schedule": ["1m", "5m", "1h"], "jitter": None, "max_age": "2d", "max_attempts": None})
@exact
class RetryOut(TypedDict):
    """How retries differ from the level above; null is as there."""

    schedule: list[str] | None
    jitter: float | None
    max_age: str | None
    max_attempts: int | None


def retry_out(retry: RetrySettings) -> RetryOut:
    """How retries differ."""
    return RetryOut(
        schedule=None if retry.schedule is None else [show_duration(delay) for delay in retry.schedule],
        jitter=retry.jitter,
        max_age=None if retry.max_age is None else show_duration(retry.max_age),
        max_attempts=retry.max_attempts,
    )
