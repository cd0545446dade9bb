"""Merge fields: one template, many recipients, a message for each with its own values in place of `{{name}}`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from relay.errors import Invalid, Violation
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    ClientId,
    MailboxIn,
    Metadata,
    Strict,
    SubjectIn,
    Tags,
    TimeIn,
    header_value,
)
from sidecar_api.schemas.messages import ContentIn, MessageIn

MAX_FIELDS = 100
_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_PLACEHOLDER = re.compile(rf"\{{\{{ *({_NAME}) *\}}\}}")
_OPENING = re.compile(r"\{\{")


def _placeholders(text: str) -> str:
    """What looks like a placeholder must be one: nobody is to be greeted as {{ first name }}."""
    for opening in _OPENING.finditer(text):
        if not _PLACEHOLDER.match(text, opening.start()):
            near = text[opening.start() : opening.start() + 20]
            raise ValueError(f"{near!r} is no placeholder: write {{{{name}}}}, of letters, digits and . _ -")
    return text


Template = Annotated[str, AfterValidator(_placeholders)]
FieldName = Annotated[str, Field(pattern=f"^{_NAME}$")]
FieldValue = Annotated[str, Field(max_length=100_000)] | int


@example(
    {
        "from": "Acme News <news@example.com>",
        "subject": "Spring, {{name}}!",
        "text": "Dear {{name}}, your code is {{code}}.",
    }
)
class TemplateIn(ContentIn):
    """A message without recipients. `{{name}}` in subject, text and HTML is replaced for each of them, escaped in HTML."""

    subject: Annotated[SubjectIn, AfterValidator(_placeholders)] = ""
    text: Template | None = None
    html: Template | None = Field(default=None, validate_default=True)


@example({"to": "Ann Example <ann@example.net>", "fields": {"name": "Ann", "code": "A-17"}})
class MergeRecipientIn(Strict):
    """Who gets a message of its own, and what is its own in it."""

    to: MailboxIn
    fields: dict[FieldName, FieldValue] = Field(default_factory=dict, max_length=MAX_FIELDS)
    """By name; each that the template names must be there."""
    client_id: ClientId | None = None
    send_at: TimeIn | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None


def merged(template: TemplateIn, recipient: MergeRecipientIn) -> MessageIn:
    """The message for one recipient; Invalid names each field that is missing."""
    missing = {
        name: None
        for part in (template.subject, template.text, template.html)
        for name in _names(part)
        if name not in recipient.fields
    }
    if missing:
        raise Invalid(*(Violation(f"/fields/{name}", "is named in the template and is not given") for name in missing))
    try:
        subject = header_value(_filled(template.subject, recipient, str))
    except ValueError as fault:
        raise Invalid(Violation("/fields", f"subject: {fault}")) from None
    said = {name: getattr(template, name) for name in ContentIn.model_fields}
    own = {"client_id": recipient.client_id, "to": [recipient.to], "cc": [], "bcc": [], "subject": subject}
    own["text"] = None if template.text is None else _filled(template.text, recipient, str)
    own["html"] = None if template.html is None else _filled(template.html, recipient, html.escape)
    own |= {name: value for name in _OWN if (value := getattr(recipient, name)) is not None}
    return MessageIn.model_construct(**{**said, **own})


_OWN = ("send_at", "tags", "metadata")
"""What a recipient may say otherwise than the template."""


def _names(text: str | None) -> Iterator[str]:
    for found in _PLACEHOLDER.finditer(text or ""):
        yield found[1]


def _filled(text: str, recipient: MergeRecipientIn, escape: Callable[[str], str]) -> str:
    return _PLACEHOLDER.sub(lambda found: escape(str(recipient.fields[found[1]])), text)
