"""Prompts: a person at a terminal is asked for what is missing; a program, which has none, never."""

from __future__ import annotations

import sys
from typing import Any

import click

from relay.cli.exits import Exit, Failure


def is_interactive() -> bool:
    """Whether somebody is there to answer: what is asked goes to standard error, so that an answer can be redirected."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; without a terminal --yes must be said."""
    if yes:
        return
    if not is_interactive():
        raise click.UsageError("This cannot be undone: say --yes.")
    click.confirm(question, abort=True, err=True)


def confirm_softly(question: str, *, yes: bool) -> None:
    """The same for one thing that can be made again: a program is taken at its word."""
    if not yes and is_interactive():
        click.confirm(question, abort=True, err=True)


def ask(text: str, *, default: Any = None, kind: Any = None) -> Any:
    """A value; None where nobody is there to give one. An empty default makes it one that may be left out."""
    if not is_interactive():
        return None
    return click.prompt(text, default=default, type=kind, err=True, show_default=default not in (None, ""))


def read_secret(prompt: str, *, from_stdin: bool) -> str:
    """A secret from the first line of stdin, or typed unseen where that is a terminal; never from the command line, which
    others can read.
    """
    if from_stdin and not is_interactive():
        text = sys.stdin.readline().rstrip("\r\n")
    elif is_interactive():
        text = click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError(
            f"{prompt} is asked for: give it on standard input, with the option that ends in -stdin."
        )
    if not text:
        raise Failure(Exit.DATA, f"{prompt.lower()}: standard input is empty")
    return str(text)
