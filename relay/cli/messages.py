"""`stagepost messages`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from relay.cli.options import confirm, tenant_option
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, segment, verb, without_nothing

COLUMNS = {
    "Message": "id",
    "Accepted": "accepted_at",
    "State": "state",
    "Tenant": "tenant",
    "Account": "account",
    "From": "sender",
    "To": "to",
}
RECIPIENTS = {
    "Recipient": "address",
    "State": "state",
    "Attempts": "attempts",
    "Next attempt": "next_attempt_at",
    "Code": "reply.code",
    "Status": "reply.enhanced",
    "Reply": "reply.text",
}
EVENTS = {"At": "at", "Event": "kind", "Recipient": "recipient", "Facts": "facts"}
ATTEMPTS = {
    "Started": "started_at",
    "Finished": "finished_at",
    "Next hop": "next_hop",
    "TLS": "tls",
    "Fault": "fault",
    "Outcomes": "outcomes",
}
REASONS = {"Waits for": "kind", "Until": "until", "Because": "detail"}
PAGE = 100
FIELDS = {"states": "state", "by": "account"}
"""Options that the API calls otherwise."""

F = TypeVar("F", bound=Callable[..., Any])


@click.group("messages")
def command() -> None:
    """Messages: what became of them."""


@command.command("list")
@tenant_option()
@click.option("--state", "states", multiple=True, metavar="STATE", help="open, sent, failed, …; repeat for more.")
@click.option("--batch", metavar="BATCH", help="Of this batch.")
@click.option("--tag", "tag", multiple=True, metavar="TAG", help="With this tag; of several, with each.")
@click.option("--priority", metavar="PRIORITY", help="Of this priority.")
@click.option("--suspended/--not-suspended", default=None, help="That wait for a resumption, or that do not.")
@click.option("--client-id", metavar="ID", help="With this client id.")
@click.option("--account", metavar="ACCOUNT", help="By this account.")
@click.option("--recipient", metavar="ADDRESS", help="To this address.")
@click.option("--since", metavar="TIME", help="Accepted at or after it (RFC 3339).")
@click.option("--until", metavar="TIME", help="Accepted before it (RFC 3339).")
@click.option("--cursor", metavar="CURSOR", help="The next_cursor of the list before.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@verb
def list_(
    session: Session,
    /,
    states: tuple[str, ...],
    limit: int,
    cursor: str | None,
    suspended: bool | None,
    **filters: Any,
) -> None:
    """Messages, newest first."""
    items: list[Any] = []
    while True:
        waits = None if suspended is None else str(suspended).lower()
        query = {
            **filters,
            "suspended": waits,
            "state": states,
            "cursor": cursor,
            "limit": min(PAGE, limit - len(items)),
        }
        page = session.request("GET", "/v1/messages", query=query)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(items) >= limit:
            break
    session.show({"items": items, "next_cursor": cursor}, _show_list)


@command.command("show")
@click.argument("message")
@tenant_option()
@verb
def show(session: Session, message: str, tenant: str | None) -> None:
    """One message with its recipients."""
    session.show(session.request("GET", _path(message), query={"tenant": tenant}), _show_one)


@command.command("events")
@click.argument("message")
@tenant_option()
@verb
def events(session: Session, message: str, tenant: str | None) -> None:
    """What happened to a message, in order."""
    found = session.request("GET", _path(message, "events"), query={"tenant": tenant})
    session.show(found, lambda found: show_rows(found["items"], EVENTS))


@command.command("attempts")
@click.argument("message")
@tenant_option()
@verb
def attempts(session: Session, message: str, tenant: str | None) -> None:
    """The tries to send a message, in order."""
    found = session.request("GET", _path(message, "attempts"), query={"tenant": tenant})
    session.show(found, lambda found: _show_attempts(found["items"]))


@command.command("content")
@click.argument("message")
@tenant_option()
@verb
def content(session: Session, message: str, tenant: str | None) -> None:
    """The message itself, octet by octet, on standard output."""
    session.stream(_path(message, "content"), {"tenant": tenant}, sys.stdout.buffer.write)
    sys.stdout.buffer.flush()


def _filters(function: F) -> F:
    """Which messages, in place of one."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--until", metavar="TIME", help="All accepted before it (RFC 3339)."),
        click.option("--since", metavar="TIME", help="All accepted at or after it (RFC 3339)."),
        click.option("--recipient", metavar="ADDRESS", help="All to this address."),
        click.option("--by", "by", metavar="ACCOUNT", help="All by this account."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="All with this tag; of several, with each."),
        click.option("--batch", metavar="BATCH", help="All of this batch."),
        click.option("--state", "states", multiple=True, metavar="STATE", help="All in this state; repeat for more."),
    ):
        function = option(function)
    return click.argument("message", required=False)(tenant_option()(function))


def _act(session: Session, act: str, message: str | None, account: str | None = None, **filters: Any) -> None:
    """On one message, or on all that the filters find."""
    tenant, dry_run = filters.pop("tenant"), filters.pop("dry_run")
    said = {FIELDS.get(name, name): value for name, value in filters.items() if value}
    if (message is None) == (not said):
        raise click.UsageError("Say which: a message's id, or filters such as --batch and --state.")
    if message is None:
        _act_on_all(session, act, tenant, without_nothing({"filter": said, "dry_run": dry_run, "account": account}))
    elif dry_run:
        raise click.UsageError("--dry-run is for filters.")
    elif act == "delete":
        session.show(session.request("DELETE", _path(message), query={"tenant": tenant}), _show_one)
    else:
        body = None if account is None else {"account": account}
        found = session.request("POST", _path(message, act), query={"tenant": tenant}, body=body)
        session.show(found, _show_one)


def _act_on_all(session: Session, act: str, tenant: str | None, body: dict[str, Any]) -> None:
    """Call by call until there is no more."""
    matched = changed = 0
    skipped: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        more = without_nothing({"action": act, "cursor": cursor})
        found = session.request("POST", "/v1/messages/bulk", query={"tenant": tenant}, body={**body, **more})
        matched, changed = matched + found["matched"], changed + found["changed"]
        skipped.update(found["skipped"])
        if (cursor := found["next_cursor"]) is None:
            break
    session.show({"matched": matched, "changed": changed, "skipped": dict(skipped)}, show_facts)


@command.command("hold")
@_filters
@verb
def hold(session: Session, /, **said: Any) -> None:
    """Keep back what is still open."""
    _act(session, "hold", **said)


@command.command("release")
@_filters
@verb
def release(session: Session, /, **said: Any) -> None:
    """Let go what is held."""
    _act(session, "release", **said)


@command.command("cancel")
@_filters
@verb
def cancel(session: Session, /, **said: Any) -> None:
    """Cancel what is still to be sent."""
    _act(session, "cancel", **said)


@command.command("retry")
@_filters
@verb
def retry(session: Session, /, **said: Any) -> None:
    """Try open, failed, expired and held recipients again now."""
    _act(session, "retry", **said)


@command.command("reroute")
@click.option("--account", required=True, metavar="ACCOUNT", help="By which account it is to go.")
@_filters
@verb
def reroute(session: Session, /, **said: Any) -> None:
    """Send what is still open by another account."""
    _act(session, "reroute", **said)


@command.command("delete")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_filters
@verb
def delete(session: Session, /, yes: bool, **said: Any) -> None:
    """Delete what is closed, with its content."""
    if not said["dry_run"]:
        confirm("Delete for good?", yes=yes)
    _act(session, "delete", **said)


def _path(message: str, *more: str) -> str:
    return "/".join(["/v1/messages", segment(message), *more])


def _show_list(found: Any) -> None:
    show_rows(({**item, "to": [one["address"] for one in item["recipients"]]} for item in found["items"]), COLUMNS)
    if found["next_cursor"]:
        click.echo(f"More: --cursor {found['next_cursor']}", err=True)


@command.command("explain")
@click.argument("message")
@tenant_option()
@verb
def explain(session: Session, message: str, tenant: str | None) -> None:
    """Why it has not been sent yet, when it is tried next and by which way, and every try so far."""
    session.show(session.request("GET", _path(message, "explain"), query={"tenant": tenant}), _show_explanation)


def _show_explanation(found: Any) -> None:
    click.echo(f"Message {found['id']} is {found['state']}.")
    for one in found["deliveries"]:
        click.echo()
        route = one["route"]
        show_facts(
            {
                "delivery": one["delivery"],
                "for": one["recipients"],
                "route": route and f"{route['account']} by {route['next_hop']} (tls {route['tls']})",
                "attempts": one["attempts"],
                "next attempt": one["next_attempt_at"] or "not before something changes",
            }
        )
        show_rows(one["reasons"], REASONS)
    if found["attempts"]:
        click.echo()
        _show_attempts(found["attempts"])


def _show_one(found: Any) -> None:
    show_facts({name: value for name, value in found.items() if name != "recipients"})
    click.echo()
    show_rows(found["recipients"], RECIPIENTS)


def _show_attempts(attempts: Any) -> None:
    """Each on one line, then what was said in each."""
    show_rows([_attempt(one) for one in attempts], ATTEMPTS)
    for one in attempts:
        if one["transcript"]:
            click.echo()
            show_rows([{"said": line} for line in one["transcript"]], {one["started_at"]: "said"})


def _attempt(attempt: Any) -> dict[str, Any]:
    """An attempt on one line."""
    fault = attempt["fault"]
    return {
        **attempt,
        "fault": fault and f"{fault['phase']}: {_reply(fault['reply']) or fault['detail']}",
        "outcomes": [f"{one['verdict']} {_reply(one['reply'])}".strip() for one in attempt["outcomes"]],
    }


def _reply(reply: Any) -> str:
    return " ".join(str(part) for part in reply.values() if part) if reply else ""
