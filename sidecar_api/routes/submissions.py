"""Routes to hand in mail."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import batch_requests, raw, submissions
from sidecar_api.route import BODY, COMMON, RFC822, Group, Route
from sidecar_api.schemas import views
from sidecar_api.schemas.batch_requests import BatchIn
from sidecar_api.schemas.messages import MessageIn
from sidecar_api.schemas.queries import RawQuery, TenantQuery

_SUBMIT = COMMON | BODY | {409, 429}

GROUP = Group(
    "submissions",
    "Hand in mail: in parts, many at once, or as a finished RFC 5322 message. 202 is said once it is durable.",
    (
        Route(
            "POST",
            "/v1/messages",
            submissions.submit,
            Access.SEND,
            "Hand in a message in parts",
            {202: views.SubmittedOut},
            TenantQuery,
            MessageIn,
            idempotent=True,
            problems=_SUBMIT,
        ),
        Route(
            "POST",
            "/v1/messages/batch",
            batch_requests.submit_batch,
            Access.SEND,
            "Hand in up to 1000 messages; each is accepted or refused by itself",
            {202: views.BatchOut, 207: views.BatchOut},
            TenantQuery,
            BatchIn,
            reads_itself=True,
            idempotent=True,
            problems=_SUBMIT,
            description="Either `messages`, or one `template` and `recipients` who get a message each: `{{name}}` in"
            " subject, text and HTML is replaced by the recipient's field of that name, escaped in HTML. A field that is"
            " missing is a fault of that recipient alone.",
        ),
        Route(
            "POST",
            "/v1/messages/raw",
            raw.submit_raw,
            Access.SEND,
            "Hand in a finished RFC 5322 message, streamed",
            {202: views.SubmittedOut},
            RawQuery,
            media=RFC822,
            reads_itself=True,
            idempotent=True,
            problems=_SUBMIT | {408},
        ),
    ),
)
