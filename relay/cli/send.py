"""`stagepost send`."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import click

from relay.cli.exits import Exit, Failure
from relay.cli.options import tenant_option
from relay.cli.output import show_facts, show_rows
from relay.cli.session import Session, verb

_CONTROLS = {
    "priority": "Priority",
    "batch": "Batch",
    "send_at": "Send-At",
    "expires_at": "Expires",
    "account": "Account",
    "client_id": "Client-Id",
    "idempotency_key": "Idempotency-Key",
    "tags": "Tags",
    "metadata": "Metadata",
}
"""Options and the control header fields that say the same."""
RECIPIENTS = {"Recipient": "address", "State": "state"}


@click.command("send")
@click.argument("file", type=click.File("rb"))
@tenant_option()
@click.option("--from", "sender", metavar="ADDRESS", help="The envelope's sender; else the From field's address.")
@click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="Repeat; else all of To, Cc and Bcc.")
@click.option("--priority", metavar="PRIORITY", help="immediate, high, medium or low.")
@click.option("--batch", metavar="BATCH", help="The campaign it belongs to.")
@click.option("--send-at", metavar="TIME", help="Not before: RFC 3339, epoch seconds, or as +15m.")
@click.option("--expires-at", metavar="TIME", help="Not after: the same.")
@click.option("--account", metavar="ACCOUNT", help="The way out; else the default one.")
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
    **controls: str | None,
) -> None:
    """Hand in the message in FILE (- is standard input); its lines may end in LF."""
    content = file.read()
    if not content.strip():
        raise Failure(Exit.DATA, f"{file.name}: there is no message in it")
    fields = _control_fields(session.config.smtp.header_prefix, {**controls, "tags": ", ".join(tags) or None})
    query = {"tenant": tenant, "from": sender, "to": recipients}
    session.show(session.submit(fields + _crlf(content), query), _show)


def _control_fields(prefix: str, controls: dict[str, str | None]) -> bytes:
    """The options as control header fields, which intake reads, checks and strips at every door alike."""
    lines = []
    for option, value in controls.items():
        if value is not None:
            if not value.isprintable():
                raise click.UsageError(f"--{option.replace('_', '-')} holds a character that cannot be printed.")
            lines.append(f"{prefix}{_CONTROLS[option]}: {value}\r\n")
    return "".join(lines).encode()


def _crlf(content: bytes) -> bytes:
    """Files on this side have LF line ends; a message has CRLF (RFC 5322 §2.3)."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", content)


def _show(found: Any) -> None:
    show_facts({name: value for name, value in found.items() if name != "recipients"})
    click.echo()
    show_rows(found["recipients"], RECIPIENTS)
