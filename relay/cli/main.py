"""The `stagepost` command. Nouns are imported when they are used, so that help and completion stay quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from relay import __version__
from relay.cli.exits import Exit, Failure, epilog

# name: (module in relay.cli, what --help says without importing it)
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Run the relay."),
    "send": ("send", "Hand in a message from a file."),
    "messages": ("messages", "Messages: what became of them."),
    "batches": ("batches", "Batches: messages with one batch code."),
    "queue": ("queue", "The queue: how it stands."),
    "tenants": ("tenants", "Tenants: who shares this instance."),
    "accounts": ("accounts", "Accounts: the ways out."),
    "credentials": ("credentials", "Credentials: what SMTP clients present."),
    "tokens": ("tokens", "Tokens: what REST clients present."),
    "config": ("config", "Configuration: check it, show it, print an example."),
}


class Root(click.Group):
    """The group of all nouns. Its `main` turns every error into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """Import the noun's module."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"relay.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)  # noqa: S101 - every module of the table has one; a test holds it
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """From the table: nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        """Run a command and exit."""
        try:
            code = super().main(args, *others, **{**extra, "standalone_mode": False})
        except click.UsageError as fault:
            command = fault.ctx.command_path if fault.ctx else "stagepost"
            _say(command, f"{fault.format_message()} See {command} --help.")
            sys.exit(Exit.USAGE)
        except click.ClickException as fault:
            _say("stagepost", fault.format_message())
            sys.exit(fault.code if isinstance(fault, Failure) else Exit.FAILED)
        except (click.Abort, KeyboardInterrupt):
            _say("stagepost", "interrupted")
            sys.exit(Exit.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else Exit.OK)


def _say(command: str, text: str) -> None:
    click.echo(f"{command}: {' '.join(text.split())}", err=True)


@click.group("stagepost", cls=Root, no_args_is_help=False, invoke_without_command=True, epilog=epilog())
@click.version_option(__version__, prog_name="stagepost")
@click.pass_context
def root(context: click.Context) -> None:
    """Stagepost, a local SMTP relay with a REST sidecar.

    Commands speak to the running relay; where none runs they open its store themselves. Each takes --config FILE and
    --json after the verb.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """The console script."""
    root(prog_name="stagepost")


if __name__ == "__main__":
    main()
