"""`stagepost completion`, and what is completed: verbs and options by click, ids by asking a relay that answers at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from relay.cli.commands import Verb
from relay.cli.where import said_before, said_in
from sidecar_api import operations
from sidecar_api.operations import Listing

PATIENCE = 2.0
"""Seconds that a person may have to wait for a completion."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_INSTALL = {
    "bash": 'eval "$(stagepost completion bash)"     in ~/.bashrc',
    "zsh": 'eval "$(stagepost completion zsh)"      in ~/.zshrc, after compinit',
    "fish": "stagepost completion fish | source     in ~/.config/fish/config.fish",
}


@click.command("completion", cls=Verb, epilog="\b\n" + "\n".join(_INSTALL.values()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and ids.

    Ids are asked of the relay that the command line names, if it answers.
    """
    found = get_completion_class(shell)
    assert found  # noqa: S101  # of the choices
    if shell == "bash":
        found._check_version = staticmethod(lambda: None)  # type: ignore[attr-defined]  # noqa: SLF001  # it runs bash
    click.echo(found(context.find_root().command, {}, "stagepost", "_STAGEPOST_COMPLETE").source())


def ids_of(listing: Listing[Any, Any], member: str = "id", describe: str = "") -> Completer:
    """Completes the ids of a listing, each with another of its members to be told by."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = _ask(context, listing)
        except Exception:  # whatever it is: a shell that is completing is no place to speak of it
            return []
        words = {str(one[member]): str(one.get(describe) or "") for one in found}
        return [CompletionItem(word, help=told) for word, told in words.items() if word.startswith(incomplete)]

    return complete


messages = ids_of(operations.LIST_MESSAGES, describe="state")
tenants = ids_of(operations.LIST_TENANTS, describe="name")
accounts = ids_of(operations.LIST_ACCOUNTS, describe="tenant")
credentials = ids_of(operations.LIST_CREDENTIALS, "username", "tenant")
tokens = ids_of(operations.LIST_TOKENS, describe="name")
batches = ids_of(operations.LIST_BATCHES, "batch", "tenant")


def words(*choices: str) -> Completer:
    """Completes words of which the API alone knows whether they are all."""
    return lambda _, __, incomplete: [CompletionItem(one) for one in choices if one.startswith(incomplete)]


states = words("preparing", "open", "held", "sent", "partial", "failed", "cancelled", "captured")
scopes = words("send", "read", "manage")


def instance_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the names of instances."""
    from relay.cli.named import every

    return [CompletionItem(one.name) for one in every() if one.name.startswith(incomplete)]


def _ask(context: click.Context, listing: Listing[Any, Any]) -> Iterable[Any]:
    import asyncio

    from relay.cli.session import Session
    from relay.instance import is_listening
    from sidecar_api.client import Client

    session = Session(said_in(context.params).over(said_before(context)), as_json=True)
    if session.where.url:
        client = session.where.client(os.environ, quietly=True)
    elif is_listening(session.config.api_socket):
        client = Client.unix(session.config.api_socket)
    else:
        return ()

    async def first_page() -> Any:
        async with client, asyncio.timeout(PATIENCE):
            page = await client.call(listing, query={"tenant": context.params.get("tenant")})
            return page["items"]

    return list(asyncio.run(first_page()))
