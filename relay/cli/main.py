"""The `stagepost` command. Nouns are imported when they are used, so that help and completion stay quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from relay import __version__
from relay.cli.exits import Exit, Failure, epilog
from relay.cli.where import where_options

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Mail": {
        "send": ("send", "Hand in a message from a file."),
        "messages": ("messages", "Messages: what became of them."),
        "batches": ("batches", "Batches: messages with one batch code."),
        "events": ("events", "Events: what happened, of all messages in one order."),
        "suppressions": ("suppressions", "Suppressions: to whom a tenant must not send."),
        "queue": ("queue", "The queue: how it stands."),
    },
    "Who and how": {
        "tenants": ("tenants", "Tenants: who shares this instance."),
        "accounts": ("accounts", "Accounts: the ways out."),
        "limits": ("limits", "Limits: how much of them is used."),
        "credentials": ("credentials", "Credentials: what SMTP clients present."),
        "tokens": ("tokens", "Tokens: what REST clients present."),
    },
    "The relay": {
        "serve": ("serve", "Run the relay."),
        "instance": ("instance", "The instance: its settings, how it stands."),
        "dispatch": ("dispatch", "The scheduler: stop and start it."),
        "instances": ("instances", "Named instances: relays of this machine, by name."),
        "info": ("about", "The relay: where it is, its version, whether it is well."),
        "stats": ("about", "How many there are: tenants, accounts, deliveries by state."),
        "health": ("about", "Whether it answers and can do its work."),
        "token": ("about", "The admin tokens; --regenerate makes a new one."),
        "command-log": ("command_log", "The command log: who did what."),
        "config": ("config", "Configuration: check it, show it, print an example."),
        "metrics": ("about", "Metrics, as Prometheus reads them."),
        "openapi": ("about", "The API's description (OpenAPI 3.1)."),
        "completion": ("completion", "Print what makes a shell complete commands."),
    },
}
"""By section of --help: name, module in relay.cli, what --help says without importing it."""
NOUNS = {name: found for section in COMMANDS.values() for name, found in section.items()}


class Root(click.Group):
    """The group of all nouns. Its `main` turns every error into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """In the order of the table."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """Import the noun's module."""
        if cmd_name not in NOUNS:
            return None
        module = import_module(f"relay.cli.{NOUNS[cmd_name][0]}")
        # A module has one noun, or several commands by name; a test holds that each is there.
        command = getattr(module, "command", None) or getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; it would look for what was meant among what is imported."""
        name = args[0]
        if name not in NOUNS and not name.startswith("-") and not ctx.resilient_parsing:
            meant = get_close_matches(name, NOUNS, n=1)
            hint = f" Did you mean '{meant[0]}'?" if meant else ""
            raise click.UsageError(f"No such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """From the table: nothing is imported."""
        width = max(map(len, NOUNS))
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, (_, summary) in section.items()])

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        """Run a command and exit."""
        try:
            code = super().main(args, *others, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as fault:
            click.echo(fault.format_message(), err=True)
            sys.exit(Exit.USAGE)
        except click.UsageError as fault:
            command = fault.ctx.command_path if fault.ctx else "stagepost"
            _say(command, f"{_sentence_of(fault)} See {command} --help.")
            sys.exit(Exit.USAGE)
        except click.ClickException as fault:
            _say("stagepost", fault.format_message())
            sys.exit(fault.code if isinstance(fault, Failure) else Exit.FAILED)
        except (click.Abort, KeyboardInterrupt):
            _say("stagepost", "interrupted")
            sys.exit(Exit.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else Exit.OK)


def _sentence_of(fault: click.UsageError) -> str:
    if isinstance(fault, click.NoSuchOption) and fault.option_name == "--json":
        return "--json stands behind the verb."  # click would name an option that only looks like it
    text = fault.format_message()
    return text if text.endswith((".", "?")) else f"{text}."


def _say(command: str, text: str) -> None:
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    named = click.style(f"{command}:", fg="red") if colour else f"{command}:"
    click.echo(f"{named} {' '.join(text.split())}", err=True)


@click.group(
    "stagepost",
    cls=Root,
    no_args_is_help=False,
    invoke_without_command=True,
    epilog=epilog(),
    context_settings={"max_content_width": 120},
)
@where_options(hidden=False)
@click.version_option(__version__, prog_name="stagepost")
@click.pass_context
def root(context: click.Context, /, **_: Any) -> None:
    """Stagepost, a local SMTP relay with a REST sidecar.

    Commands speak to the relay of this machine, or open its store where it does not run; with --url to a relay anywhere.
    The options below may stand before the noun or behind the verb. Every verb has --json, for programs.

    A token comes from --token-file, STAGEPOST_TOKEN or STAGEPOST_TOKEN_FILE, or is asked for. STAGEPOST_URL,
    STAGEPOST_INSTANCE, STAGEPOST_CONFIG and STAGEPOST_CA_FILE say what the options say. PAGER (STAGEPOST_PAGER) shows long
    lists on a terminal; NO_COLOR is respected.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """The console script."""
    root(prog_name="stagepost")


if __name__ == "__main__":
    main()
