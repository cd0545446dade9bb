"""The errors of the project, and the one table from a refusal to what each door says.

    RelayError
    ├── ConfigError            the configuration is wrong: exit 78 (EX_CONFIG)
    ├── StoreError             the store cannot be used as it is: exit 78
    ├── StoreUnavailable       the store does not answer now: 451 / 503
    ├── NotFound               no such thing, or another tenant's: 404
    ├── Conflict               it exists, or its state forbids it: 409
    ├── Invalid                a value is wrong: 422, one Violation for each fault
    └── Rejected(Refusal)      a message is not accepted: the reply and status of the table

What has no place here is unexpected, and unexpected is transient: 451 4.3.0 or 500 without detail, the cause in the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from relay.model.reply import Reply

_NOT_FOR_SMTP = re.compile(r"[^ -~]+")
_DETAIL_SHOWN = 300


class RelayError(Exception):
    """Root of what this project raises on purpose."""


class ConfigError(RelayError):
    """A configuration that cannot be used; the message names file, section and key, and what to do."""


class StoreError(RelayError):
    """A store that must not be used as it is: no key, a foreign schema, no durability. Says what to do."""


class StoreUnavailable(RelayError):
    """The store does not answer now; nothing was written."""


class LeaseRanOut(RelayError):
    """An attempt took longer than its lease, which could not be renewed; nothing was sent."""


class NotFound(RelayError):
    """No such thing in this tenant."""


class Conflict(RelayError):
    """The thing exists already, or its state forbids what was asked."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of an input: `path` as a JSON pointer or a header's name, `detail` for people."""

    path: str
    detail: str


class Invalid(RelayError):
    """An input with one or more faults."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.path}: {v.detail}" for v in violations))
        self.violations = violations


class Refusal(Enum):
    """Why a message is not accepted: `(code, enhanced, text, HTTP status)`. A `{}` in the text takes the detail."""

    AUTH_FAILED = (535, "5.7.8", "authentication credentials invalid", 401)
    AUTH_REQUIRED = (530, "5.7.0", "authentication required", 401)
    TLS_REQUIRED = (538, "5.7.11", "encryption required for requested authentication mechanism", 403)
    STARTTLS_FIRST = (530, "5.7.0", "must issue a STARTTLS command first", 403)
    SENDER_NOT_ALLOWED = (550, "5.7.1", "sender address not allowed for this credential", 403)
    BAD_SENDER = (553, "5.1.7", "sender address: {}", 422)
    BAD_RECIPIENT = (553, "5.1.3", "recipient address: {}", 422)
    UNKNOWN_PARAMETER = (555, "5.5.4", "unsupported parameter: {}", 422)
    BAD_LINE = (550, "5.5.2", "bare <CR> or <LF> in the message", 422)
    BAD_CONTENT = (550, "5.6.0", "{}", 422)
    DUPLICATE_CLIENT_ID = (550, "5.6.0", "client id is already in use, by a message that was attempted: {}", 409)
    IDEMPOTENCY_MISMATCH = (550, "5.6.0", "idempotency key was used for another message", 422)
    IDEMPOTENCY_IN_FLIGHT = (
        451,
        "4.3.0",
        "a message with this idempotency key is being accepted, try again later",
        409,
    )
    NO_ACCOUNT = (550, "5.7.1", "no such account: {}", 422)
    ACCOUNT_DISABLED = (550, "5.7.1", "account is disabled: {}", 422)
    LOOP = (554, "5.4.6", "too many hops (Received header fields): mail loop", 422)
    TOO_BIG = (552, "5.3.4", "message exceeds the size limit of {} octets", 413)
    TOO_MANY_RECIPIENTS = (452, "4.5.3", "too many recipients", 422)
    QUEUE_FULL = (452, "4.3.1", "the queue is full, try again later", 503)
    DISK_LOW = (452, "4.3.1", "insufficient disk space, try again later", 503)
    MEMORY_LOW = (452, "4.3.1", "insufficient memory, try again later", 503)
    STORE_DOWN = (451, "4.3.0", "temporarily unable to accept mail, try again later", 503)
    UNEXPECTED = (451, "4.3.0", "local error in processing", 500)
    SHUTTING_DOWN = (421, "4.3.2", "service shutting down", 503)
    TOO_MANY_CONNECTIONS = (421, "4.3.2", "too many connections, try again later", 503)
    TOO_MANY_FROM_CLIENT = (421, "4.7.0", "too many connections from your address", 503)
    TOO_SLOW = (421, "4.4.2", "timeout, closing connection", 408)
    TOO_MANY_ERRORS = (421, "4.7.0", "too many errors", 429)

    @property
    def http_status(self) -> int:
        """What the REST door answers."""
        return self.value[3]

    def reply(self, detail: str = "") -> Reply:
        """What the SMTP door answers: one line of ASCII within 512 octets, whatever a client put into the detail."""
        code, enhanced, text, _ = self.value
        return Reply(code, enhanced, text.replace("{}", _NOT_FOR_SMTP.sub("?", detail)[:_DETAIL_SHOWN]))


class Rejected(RelayError):
    """A message that is not accepted. `path` names the header or field at fault, where one is."""

    def __init__(self, refusal: Refusal, detail: str = "", *, path: str = "") -> None:
        super().__init__(str(refusal.reply(detail)))
        self.refusal = refusal
        self.detail = detail
        self.path = path

    @property
    def reply(self) -> Reply:
        """The SMTP reply."""
        return self.refusal.reply(self.detail)
