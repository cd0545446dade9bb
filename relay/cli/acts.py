"""Acts on messages: on one by its id, or on all that filters find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relay.cli import completion, message_views
from relay.cli.commands import Verb, verb
from relay.cli.options import required_owner, tenant_option, yes_option
from relay.cli.output import show_facts
from relay.cli.prompts import confirm, confirm_softly
from relay.cli.session import Session, without_nothing
from sidecar_api import operations
from sidecar_api.operations import Operation

if TYPE_CHECKING:
    from sidecar_api.client import Client

F = TypeVar("F", bound=Callable[..., Any])

NAMES = {"states": "state", "by": "account"}
"""Options that the API calls otherwise."""


def _which(function: F) -> F:
    """A message, or filters."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--until", metavar="TIME", help="All accepted before it (RFC 3339)."),
        click.option("--since", metavar="TIME", help="All accepted at or after it (RFC 3339)."),
        click.option("--recipient", metavar="ADDRESS", help="All to this address."),
        click.option("--by", metavar="ACCOUNT", shell_complete=completion.accounts, help="All by this account."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="All with this tag; of several, with each."),
        click.option("--batch", metavar="BATCH", shell_complete=completion.batches, help="All of this batch."),
        click.option(
            *("--state", "states"),
            multiple=True,
            metavar="STATE",
            shell_complete=completion.states,
            help="All in this state; repeat for more.",
        ),
    ):
        function = option(function)
    return click.argument("message", required=False, shell_complete=completion.messages)(tenant_option(function))


def _filter_of(said: dict[str, Any]) -> dict[str, Any]:
    """The filters among a verb's keywords, taken out; UsageError where neither they nor a message are said, or both."""
    apart = ("message", "tenant", "dry_run")
    found = {NAMES.get(name, name): said.pop(name) for name in list(said) if name not in apart}
    found = {name: value for name, value in found.items() if value}
    if (said["message"] is None) == (not found):
        raise click.UsageError("Say which: a message's id, or filters such as --batch and --state.")
    if said["message"] is not None and said["dry_run"]:
        raise click.UsageError("--dry-run is for filters.")
    return found


def _act(session: Session, operation: Operation[Any], said: dict[str, Any], account: str | None = None) -> None:
    """On one or on all."""
    found, query = _filter_of(said), {"tenant": said["tenant"]}
    if said["message"] is None:
        query = {"tenant": required_owner(session, said["tenant"], may_share=False)}
        action = operation.path.rpartition("/")[2] if operation.method == "POST" else "delete"
        body = {"action": action, "filter": found, "dry_run": said["dry_run"], "account": account}
        session.show(session.run(lambda api: _act_on_all(api, query, without_nothing(body))), show_facts)
    else:
        json = None if account is None else {"account": account}
        session.show(session.call(operation, said["message"], query=query, json=json), message_views.show_one)


async def _act_on_all(api: Client, query: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Call by call until there is no more."""
    matched = changed = 0
    skipped: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        found = await api.call(
            operations.ACT_ON_MESSAGES, query=query, json={**body, **without_nothing({"cursor": cursor})}
        )
        matched, changed = matched + found["matched"], changed + found["changed"]
        skipped.update(found["skipped"])
        if (cursor := found["next_cursor"]) is None:
            return {"matched": matched, "changed": changed, "skipped": dict(skipped)}


@click.command("hold", cls=Verb)
@_which
@verb
def hold(session: Session, /, **said: Any) -> None:
    """Keep back what is still open."""
    _act(session, operations.HOLD_MESSAGE, said)


@click.command("release", cls=Verb)
@_which
@verb
def release(session: Session, /, **said: Any) -> None:
    """Let go what is held."""
    _act(session, operations.RELEASE_MESSAGE, said)


@click.command("cancel", cls=Verb)
@_which
@verb
def cancel(session: Session, /, **said: Any) -> None:
    """Cancel what is still to be sent."""
    _act(session, operations.CANCEL_MESSAGE, said)


@click.command("retry", cls=Verb)
@_which
@verb
def retry(session: Session, /, **said: Any) -> None:
    """Try open, failed, expired and held recipients again now."""
    _act(session, operations.RETRY_MESSAGE, said)


@click.command("reroute", cls=Verb)
@click.option(
    "--account",
    required=True,
    metavar="ACCOUNT",
    shell_complete=completion.accounts,
    help="By which account it is to go.",
)
@_which
@verb
def reroute(session: Session, /, account: str, **said: Any) -> None:
    """Send what is still open by another account."""
    _act(session, operations.REROUTE_MESSAGE, said, account)


@click.command("delete", cls=Verb)
@yes_option
@_which
@verb
def delete(session: Session, /, yes: bool, **said: Any) -> None:
    """Delete what is closed, with its content. By filters it needs --yes where nobody can be asked."""
    if said["message"] is not None:
        confirm_softly(f"Delete message {said['message']} for good?", yes=yes)
    elif not said["dry_run"]:
        confirm("Delete all that these filters find, for good?", yes=yes)
    _act(session, operations.DELETE_MESSAGE, said)


VERBS = (hold, release, cancel, retry, reroute, delete)
