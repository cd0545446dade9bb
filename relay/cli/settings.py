"""Settings: the options by which a thing is made or changed, each for one member of the API's body."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Delays(click.ParamType[list[str]]):
    """Durations by comma."""

    name = "times"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:  # noqa: ARG002
        """A list, each as it was written: the API reads them."""
        return [part.strip() for part in str(value).split(",")]


class Share(click.ParamType[float]):
    """A percentage."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As a share of one."""
        try:
            return float(str(value).strip().removesuffix("%")) / 100
        except ValueError:
            self.fail("is a percentage such as 10%.", param, ctx)


@dataclass(frozen=True, slots=True)
class Setting:
    """An option and the member of the body that it is for, as `limits.per_hour`."""

    option: str
    member: str
    help: str
    metavar: str | None = None
    type: Any = None
    several: bool = False
    """May be repeated, for a list."""
    only_new: bool = False
    """Can be said when the thing is made, not changed afterwards."""
    kept: bool = False
    """Cannot be cleared."""

    @property
    def keyword(self) -> str:
        """The name by which click hands it over."""
        return "setting_" + self.member.replace(".", "__")


def setting_options(settings: Sequence[Setting]) -> Callable[[F], F]:
    """Their options on a verb that makes a thing; the function is given `settings`, a body of those that were said."""
    return lambda function: _with_options(function, settings, clear=())


def change_options(settings: Sequence[Setting]) -> Callable[[F], F]:
    """The same on a verb that changes one, with --clear; UsageError where nothing is said."""
    changeable = [one for one in settings if not one.only_new]
    return lambda function: _with_options(function, changeable, clear=[one for one in changeable if not one.kept])


def _with_options(function: F, settings: Sequence[Setting], clear: Sequence[Setting]) -> F:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        body: dict[str, Any] = {}
        for one in settings:
            value = kwargs.pop(one.keyword)
            if value is not None and value != ():
                _put(body, one.member, list(value) if one.several else value)
        if clear:
            for one in clear:
                if one.member in kwargs["clear"]:
                    _put(body, one.member, [] if one.several else None)
            del kwargs["clear"]
        return function(*args, settings=body, **kwargs)

    decorated: Any = run
    if clear:
        names = click.Choice([one.member for one in clear])
        decorated = click.option(
            "--clear", multiple=True, type=names, metavar="SETTING", help="Take it away, as limits.per_hour; repeat."
        )(decorated)
    for one in reversed(settings):
        decorated = click.option(
            one.option, one.keyword, metavar=one.metavar, type=one.type, multiple=one.several, help=one.help
        )(decorated)
    return decorated  # type: ignore[no-any-return]  # the function with its options


def _put(body: dict[str, Any], member: str, value: Any) -> None:
    *outer, last = member.split(".")
    for name in outer:
        body = body.setdefault(name, {})
    body[last] = value


def must_change(body: dict[str, Any]) -> dict[str, Any]:
    """UsageError where nothing was said."""
    if not body:
        raise click.UsageError("Nothing is said to be changed.")
    return body


COUNT = click.IntRange(1)
LIMITS = (
    Setting("--limit-per-minute", "limits.per_minute", "Messages in any minute.", "N", COUNT),
    Setting("--limit-per-hour", "limits.per_hour", "Messages in any hour.", "N", COUNT),
    Setting("--limit-per-day", "limits.per_day", "Messages in any day.", "N", COUNT),
    Setting("--limit-unit", "limits.unit", "What is counted.", None,
            click.Choice(["messages", "recipients"]), kept=True),
    Setting("--on-limit", "limits.on_limit", "What becomes of mail over it.", None,
            click.Choice(["defer", "reject"]), kept=True),
)  # fmt: skip
RETRY = (
    Setting("--retry-schedule", "retry.schedule", "The delay before each retry, such as 1m,5m,1h.", "TIMES", Delays()),
    Setting("--retry-jitter", "retry.jitter", "How far a delay may stray, such as 10%.", "PERCENT", Share()),
    Setting("--max-age", "retry.max_age", "Give up when a message is older, such as 2d.", "TIME"),
    Setting("--max-attempts", "retry.max_attempts", "Give up after so many attempts.", "N", COUNT),
)
