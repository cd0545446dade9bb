"""How messages, events, attempts and explanations look to a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from relay.cli.options import say_more
from relay.cli.output import show_facts, show_rows

COLUMNS = {
    "Message": "id",
    "Accepted": "accepted_at",
    "State": "state",
    "Tenant": "tenant",
    "Account": "account",
    "From": "sender",
    "To": "to",
}
SPARE = ("Account", "Tenant", "From")
CSV = {
    name: name
    for name in (
        *("id", "tenant", "client_id", "state", "accepted_at", "send_at", "expires_at", "sender", "to", "message_id"),
        *("priority", "batch", "account", "tags", "source", "size"),
    )
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
SUBMITTED = {"Recipient": "address", "State": "state"}
BATCH = {"Status": "status", "Message": "id", "State": "state", "Client id": "client_id", "Problem": "problem"}


def listed(message: Any) -> dict[str, Any]:
    """A message as a row: `to` is its recipients."""
    return {**message, "to": [one["address"] for one in message["recipients"]]}


def show_list(found: Any) -> None:
    """Messages, and that there are more."""
    show_rows(map(listed, found["items"]), COLUMNS, spare=SPARE)
    say_more(found["next_cursor"])


def show_one(found: Any) -> None:
    """A message, its recipients, and its history where that is in it."""
    apart = {"recipients", "events", "tries"}
    show_facts({name: value for name, value in found.items() if name not in apart})
    click.echo()
    show_rows(found["recipients"], RECIPIENTS, spare=("Status", "Next attempt"))
    if "events" in found:
        click.echo()
        show_rows(found["events"], EVENTS)
        click.echo()
        show_attempts(found["tries"])


def show_submitted(found: Any) -> None:
    """A message that was handed in."""
    show_facts({name: value for name, value in found.items() if name != "recipients"})
    click.echo()
    show_rows(found["recipients"], SUBMITTED)


def show_batch(found: Any) -> None:
    """What became of each message of a batch."""
    show_rows([{**one, "problem": _problem(one.get("problem"))} for one in found["items"]], BATCH)
    click.echo(f"{found['accepted']} of {len(found['items'])} accepted", err=True)


def show_attempts(attempts: Sequence[Any]) -> None:
    """Each on one line, then what was said in each."""
    show_rows([_attempt(one) for one in attempts], ATTEMPTS, spare=("TLS", "Finished"))
    for one in attempts:
        if one["transcript"]:
            click.echo()
            show_rows([{"said": line} for line in one["transcript"]], {one["started_at"]: "said"})


def show_explanation(found: Any) -> None:
    """What a message waits for."""
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
        show_attempts(found["attempts"])


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


def _problem(problem: Any) -> str | None:
    if not problem:
        return None
    faults = "; ".join(f"{one['path']}: {one['detail']}" for one in problem.get("violations", ()))
    return f"{problem['detail']}: {faults}" if faults else str(problem["detail"])
