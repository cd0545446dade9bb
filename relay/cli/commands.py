"""Commands: how every noun and verb behaves that is not its own business: common options, prompts for what is missing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from relay.cli.prompts import is_interactive
from relay.cli.session import Session
from relay.cli.where import said_before, said_in, where_options

P = ParamSpec("P")
R = TypeVar("R")


class Verb(click.Command):
    """A command that asks a person for the arguments and options that it lacks."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but again with what a person added."""
        given = list(args)
        while True:
            try:
                return super().parse_args(ctx, list(given))
            except click.MissingParameter as fault:
                if fault.param is None or ctx.resilient_parsing or not is_interactive():
                    raise
                given += _asked_for(fault.param)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own options; those that all commands have are explained once."""
        super().format_options(ctx, formatter)
        hidden = [one.opts[-1] for one in self.params if isinstance(one, click.Option) and one.hidden]
        if hidden:
            formatter.write_paragraph()
            formatter.write_text(f"Also {', '.join(hidden)}: see stagepost --help.")


class Noun(click.Group):
    """A group of verbs."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """As they stand in the module: what is used most comes first."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """As click does, but with whole sentences: they are folded, not cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=1000)) for name, each in self.commands.items()])


def verb(function: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """A verb of the API: says where with the common options, and --json; the function is given a Session first."""
    return _verb(function, local=False)


def local_verb(function: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """The same for what can be done on the relay's machine only."""
    return _verb(function, local=True)


def _verb(function: Callable[Concatenate[Session, P], R], *, local: bool) -> Callable[P, R]:
    @where_options(hidden=True, local=local)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def run(*args: Any, as_json: bool, **kwargs: Any) -> R:
        names = ("instance", "config") if local else ("instance", "config", "url", "token_file", "ca_file")
        said = said_in({name: kwargs.pop(name) for name in names})
        before = said_before(click.get_current_context(silent=True))
        return function(Session(said.over(before), as_json=as_json), *args, **kwargs)

    return run  # type: ignore[return-value]  # click calls it with the options added


def _asked_for(parameter: click.Parameter) -> list[str]:
    """What a person says, as it would have been said on the command line."""
    label = (parameter.metavar or parameter.name or "").replace("_", " ").capitalize()
    text = str(click.prompt(label, type=parameter.type, err=True))
    if isinstance(parameter, click.Option):
        return [f"{parameter.opts[-1]}={text}"]
    if text.startswith("-"):
        raise click.BadArgumentUsage(f"{label}: must not begin with a hyphen.")
    return [text]
