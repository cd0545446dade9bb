"""Batch requests: many messages at once, each as it is, or one template with what is each recipient's own."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import Strict
from sidecar_api.schemas.merge import MergeRecipientIn, TemplateIn
from sidecar_api.schemas.messages import Defaults, MessageIn

MAX_BATCH = 1000
_Many = Field(min_length=1, max_length=MAX_BATCH)


class _Either(Strict):
    """Messages, or a template with recipients."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["messages"]}, {"required": ["template", "recipients"]}]}
    )

    messages: Any = None
    template: TemplateIn | None = None
    """A message for each of `recipients`, with `{{name}}` in subject, text and HTML replaced by its fields."""
    recipients: Any = None
    defaults: Defaults = Defaults()
    """Controls for those messages that do not say their own."""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if (self.messages is None) == (self.recipients is None) or (self.template is None) != (self.recipients is None):
            raise ValueError("holds either messages, or a template with recipients")
        return self


@example(
    {
        "defaults": {"batch": "spring-2026", "priority": "low"},
        "messages": [
            {"from": "news@example.com", "to": "ann@example.net", "subject": "Spring", "text": "Dear Ann, …"},
            {"from": "news@example.com", "to": "bob@example.org", "subject": "Spring", "text": "Dear Bob, …"},
        ],
    }
)
class BatchIn(_Either):
    """Up to 1000 messages, or a template with as many recipients; each is accepted or refused by itself."""

    messages: Annotated[list[MessageIn], _Many] | None = None
    """Each is accepted or refused by itself; the answer has their order."""
    recipients: Annotated[list[MergeRecipientIn], _Many] | None = None
    """Each gets a message of its own; the answer has their order."""


class LooseBatch(_Either):
    """The same with its items unread, for the way on which each one is read by itself."""

    messages: Annotated[list[Any], _Many] | None = None
    recipients: Annotated[list[Any], _Many] | None = None
