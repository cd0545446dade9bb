"""`stagepost messages`."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from relay.cli import completion, message_views
from relay.cli.acts import VERBS
from relay.cli.commands import Noun, verb
from relay.cli.exits import Exit, Failure
from relay.cli.options import Paging, paging_options, say_more, tenant_option
from relay.cli.output import csv_writer, show_rows
from relay.cli.session import Session
from sidecar_api import operations


@click.group("messages", cls=Noun)
def command() -> None:
    """Messages: what became of them."""


@command.command("list")
@tenant_option
@click.option(
    "--state",
    "--status",
    "states",
    multiple=True,
    metavar="STATE",
    shell_complete=completion.states,
    help="preparing, open, held, sent, partial, failed, cancelled or captured; repeat for more.",
)
@click.option("--batch", metavar="BATCH", shell_complete=completion.batches, help="Of this batch.")
@click.option("--tag", "tag", multiple=True, metavar="TAG", help="With this tag; of several, with each.")
@click.option("--priority", metavar="PRIORITY", help="Of this priority.")
@click.option("--suspended/--not-suspended", default=None, help="That wait for a resumption, or that do not.")
@click.option("--client-id", metavar="ID", help="With this client id.")
@click.option("--account", metavar="ACCOUNT", shell_complete=completion.accounts, help="By this account.")
@click.option("--recipient", metavar="ADDRESS", help="To this address.")
@click.option("--since", metavar="TIME", help="Accepted at or after it (RFC 3339).")
@click.option("--until", metavar="TIME", help="Accepted before it.")
@paging_options
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@verb
def list_(session: Session, /, states: tuple[str, ...], as_csv: bool, **given: Any) -> None:
    """Messages, newest first."""
    if as_csv and session.as_json:
        raise click.UsageError("--csv and --json exclude each other.")
    paging, query = Paging.of(given), {**given, "state": states}
    if as_csv:
        write = csv_writer(message_views.CSV)
        rest = paging.each_page(
            session, operations.LIST_MESSAGES, query=query, take=lambda page: write(map(message_views.listed, page))
        )
        say_more(rest)
    else:
        session.show(paging.collect(session, operations.LIST_MESSAGES, query=query), message_views.show_list)


@command.command("show")
@click.argument("message", shell_complete=completion.messages)
@tenant_option
@click.option("--history", "-H", is_flag=True, help="Its events and attempts too.")
@verb
def show(session: Session, message: str, tenant: str | None, history: bool) -> None:
    """One message with its recipients."""
    query = {"tenant": tenant}
    shown: Any = session.call(operations.SHOW_MESSAGE, message, query=query)
    found: dict[str, Any] = dict(shown)
    if history:
        found["events"] = session.call(operations.SHOW_EVENTS, message, query=query)["items"]
        found["tries"] = session.call(operations.SHOW_ATTEMPTS, message, query=query)["items"]
    session.show(found, message_views.show_one)


@command.command("events")
@click.argument("message", shell_complete=completion.messages)
@tenant_option
@verb
def events(session: Session, message: str, tenant: str | None) -> None:
    """What happened to a message, in order."""
    found = session.call(operations.SHOW_EVENTS, message, query={"tenant": tenant})
    session.show(found, lambda found: show_rows(found["items"], message_views.EVENTS))


@command.command("attempts")
@click.argument("message", shell_complete=completion.messages)
@tenant_option
@verb
def attempts(session: Session, message: str, tenant: str | None) -> None:
    """The tries to send a message, in order, and what was said in each."""
    found = session.call(operations.SHOW_ATTEMPTS, message, query={"tenant": tenant})
    session.show(found, lambda found: message_views.show_attempts(found["items"]))


@command.command("explain")
@click.argument("message", shell_complete=completion.messages)
@tenant_option
@verb
def explain(session: Session, message: str, tenant: str | None) -> None:
    """Why it has not been sent yet, when it is tried next and by which way, and every try so far."""
    found = session.call(operations.EXPLAIN_MESSAGE, message, query={"tenant": tenant})
    session.show(found, message_views.show_explanation)


@command.command("content")
@click.argument("message", shell_complete=completion.messages)
@tenant_option
@verb
def content(session: Session, message: str, tenant: str | None) -> None:
    """The message itself, octet by octet, on standard output."""
    session.stream(operations.SHOW_CONTENT, message, query={"tenant": tenant})


for each in VERBS:
    command.add_command(each)


@command.command("submit")
@click.argument("file", type=click.File("rb"))
@tenant_option
@click.option("--idempotency-key", metavar="KEY", help="The same key and content is the same message.")
@verb
def submit(session: Session, file: BinaryIO, tenant: str | None, idempotency_key: str | None) -> None:
    """Hand in a message in parts: FILE (- is standard input) holds the JSON of POST /v1/messages."""
    found = session.call(
        operations.SUBMIT, query={"tenant": tenant}, json=_json_in(file), idempotency_key=idempotency_key
    )
    session.show(found, message_views.show_submitted)


@command.command("submit-batch")
@click.argument("file", type=click.File("rb"))
@tenant_option
@click.option("--idempotency-key", metavar="KEY", help="The same key and content is the same messages.")
@verb
def submit_batch(session: Session, file: BinaryIO, tenant: str | None, idempotency_key: str | None) -> None:
    """Hand in many messages: FILE holds the JSON of POST /v1/messages/batch. Exit 1 where one of them was refused."""
    found = session.call(
        operations.SUBMIT_BATCH, query={"tenant": tenant}, json=_json_in(file), idempotency_key=idempotency_key
    )
    session.show(found, message_views.show_batch)
    if found["accepted"] < len(found["items"]):
        raise click.exceptions.Exit(Exit.FAILED)


def _json_in(file: BinaryIO) -> Any:
    import json

    try:
        return json.loads(file.read())
    except ValueError as fault:
        raise Failure(Exit.DATA, f"{file.name}: is not JSON: {fault}") from None
