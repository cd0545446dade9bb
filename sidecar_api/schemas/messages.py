"""A message as a REST client hands it in, alone or in a batch, and what becomes of it for intake."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from relay.model.address import Address
from relay.model.content import Attachment, Draft
from relay.model.control import Controls
from relay.model.envelope import Envelope
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    AccountRef,
    Base64,
    BatchName,
    ClientId,
    ContentId,
    Filename,
    HeaderName,
    HeaderValues,
    Mailboxes,
    MailboxIn,
    MediaType,
    Metadata,
    PriorityIn,
    SenderIn,
    Strict,
    SubjectIn,
    Tags,
    TimeIn,
)

MAX_ATTACHMENTS = 100
MAX_HEADERS = 100


class Defaults(Strict):
    """Controls for every message of a batch that does not say its own."""

    priority: PriorityIn | None = None
    """0 to 3 or the word, 0 being the first to go; medium unless a default says otherwise."""
    batch: BatchName | None = None
    """The campaign it belongs to."""
    send_at: TimeIn | None = None
    """Not before; at once where nothing is said."""
    expires_at: TimeIn | None = None
    """Not after: whoever has not got it by then is `expired`."""
    account: AccountRef | None = None
    """The way out; the default one of the tenant, else the instance."""
    tags: Tags | None = None
    """Up to 10 words, for filters and reports."""
    metadata: Metadata | None = None
    """Handed back with the message and in every report."""


@example({"filename": "invoice.pdf", "content": "JVBERi0xLjcK", "content_type": "application/pdf"})
class AttachmentIn(Strict):
    """A file; with a `content_id` the HTML may show it by `cid:`."""

    filename: Filename
    """As the recipient sees it."""
    content: Base64
    """In base64; white space in it is passed over."""
    content_type: MediaType = "application/octet-stream"
    """Its media type."""
    content_id: ContentId | None = None
    """The name by which HTML shows it: `cid:name`."""
    inline: bool = False
    """To be shown within the message rather than listed."""


class ContentIn(Defaults):
    """What a message says, without who gets it."""

    author: MailboxIn = Field(alias="from")
    """Who writes: the header field From."""
    reply_to: Mailboxes = Field(default_factory=list)
    """Where answers go."""
    sender: SenderIn | None = None
    """The reverse-path, to which bounces go; empty for none. Else the address in `from`."""
    subject: SubjectIn = ""
    """One line."""
    text: str | None = None
    """The content for readers without HTML; at least one of text and html is there."""
    html: str | None = Field(default=None, validate_default=True)
    """The content as HTML."""
    headers: dict[HeaderName, HeaderValues] = Field(default_factory=dict, max_length=MAX_HEADERS)
    """More header fields by name, each with a value or several."""
    attachments: list[AttachmentIn] = Field(default_factory=list, max_length=MAX_ATTACHMENTS)
    """Files."""

    @field_validator("html")
    @classmethod
    def _has_body(cls, html: str | None, info: ValidationInfo) -> str | None:
        if html is None and info.data.get("text", "") is None:
            raise ValueError("there is neither text nor html")
        return html


@example(
    {
        "from": "Acme Billing <billing@example.com>",
        "to": ["Ann Example <ann@example.net>"],
        "subject": "Your invoice 2026-117",
        "text": "Dear Ann, here is your invoice.",
        "html": "<p>Dear Ann, here is your invoice.</p>",
        "attachments": [{"filename": "invoice.pdf", "content": "JVBERi0xLjcK", "content_type": "application/pdf"}],
        "client_id": "invoice-2026-117",
        "priority": "high",
        "tags": ["invoice"],
        "metadata": {"customer": 4711},
    }
)
class MessageIn(ContentIn):
    """A message in parts. Recipients are all of to, cc and bcc; `sender` is the envelope's, else the address in `from`."""

    cc: Mailboxes = Field(default_factory=list)
    """Recipients of copies."""
    bcc: Mailboxes = Field(default_factory=list)
    """Recipients that nobody else sees."""
    to: Mailboxes = Field(default_factory=list, validate_default=True)
    """Recipients; at least one is in to, cc or bcc."""
    client_id: ClientId | None = None
    """The client's own id, unique in the tenant while the message is kept."""

    @field_validator("to")
    @classmethod
    def _has_recipient(cls, to: Mailboxes, info: ValidationInfo) -> Mailboxes:
        if not (to or info.data.get("cc", True) or info.data.get("bcc", True)):
            raise ValueError("there is no recipient in to, cc or bcc")
        return to

    def draft(self) -> Draft:
        """The content, in parts."""
        return Draft(
            author=self.author,
            to=tuple(self.to),
            cc=tuple(self.cc),
            reply_to=tuple(self.reply_to),
            subject=self.subject,
            text=self.text,
            html=self.html,
            headers=tuple([(name, value) for name, values in self.headers.items() for value in values])
            if self.headers
            else (),
            attachments=tuple(map(_attachment, self.attachments)),
        )

    def envelope(self) -> Envelope:
        """The envelope; intake drops `smtputf8` where nothing needs it."""
        everyone: dict[Address, None] = {}
        for mailboxes in (self.to, self.cc, self.bcc):
            for mailbox in mailboxes:
                everyone[mailbox.address] = None
        sender = self.author.address if self.sender is None else self.sender
        return Envelope(sender, tuple(everyone), smtputf8=True)

    def controls(self, idempotency_key: str | None, defaults: Defaults) -> Controls:
        """What the message says, else what its batch says."""
        return Controls(
            priority=defaults.priority if self.priority is None else self.priority,
            batch=self.batch or defaults.batch,
            not_before=defaults.send_at if self.send_at is None else self.send_at,
            expires_at=defaults.expires_at if self.expires_at is None else self.expires_at,
            account=self.account or defaults.account,
            client_id=self.client_id,
            idempotency_key=idempotency_key,
            tags=tuple(self.tags or defaults.tags or ()),
            metadata=self.metadata or defaults.metadata,
        )


def _attachment(given: AttachmentIn) -> Attachment:
    return Attachment(given.filename, given.content, given.content_type, given.content_id, given.inline)


NO_DEFAULTS = Defaults()
