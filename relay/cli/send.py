"""`stagepost send`."""

from __future__ import annotations

from typing import BinaryIO

import click

from relay.cli import completion, message_views
from relay.cli.commands import Verb, verb
from relay.cli.exits import Exit, Failure
from relay.cli.options import tenant_option
from relay.cli.session import Session
from sidecar_api import operations


@click.command("send", cls=Verb)
@click.argument("file", type=click.File("rb"))
@tenant_option
@click.option("--from", "sender", metavar="ADDRESS", help="The envelope's sender; else the From field's address.")
@click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="Repeat; else all of To, Cc and Bcc.")
@click.option("--priority", "-p", metavar="PRIORITY", help="immediate, high, medium or low.")
@click.option("--batch", metavar="BATCH", help="The campaign it belongs to.")
@click.option("--send-at", metavar="TIME", help="Not before: RFC 3339, epoch seconds, or as +15m.")
@click.option("--expires-at", metavar="TIME", help="Not after: the same.")
@click.option(
    "--account", "-a", metavar="ACCOUNT", shell_complete=completion.accounts, help="The way out; else the default one."
)
@click.option("--client-id", metavar="ID", help="Your own id, unique per tenant.")
@click.option("--idempotency-key", metavar="KEY", help="The same key and content is the same message.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="For filters and reports; repeat for more.")
@click.option("--metadata", metavar="JSON", help="An object, handed back in every report.")
@verb
def command(
    session: Session,
    /,
    file: BinaryIO,
    tenant: str | None,
    sender: str | None,
    recipients: tuple[str, ...],
    tags: tuple[str, ...],
    idempotency_key: str | None,
    **controls: str | None,
) -> None:
    """Hand in the message in FILE (- is standard input); its lines may end in LF."""
    content = file.read()
    if not content.strip():
        raise Failure(
            Exit.DATA, "there is no message in the file: a header section, an empty line and a body are needed"
        )
    query = {"tenant": tenant, "from": sender, "to": recipients, "tags": ", ".join(tags) or None, **controls}
    sent = session.call(operations.SUBMIT_RAW, query=query, body=content, idempotency_key=idempotency_key)
    session.show(sent, message_views.show_submitted)
