"""Operations: a line for each route of ours, by which `sidecar_api.client` calls it and knows the shape of what comes back.

Kept apart from the route table because that one imports the whole door; a test holds the two equal, shapes included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from sidecar_api.schemas import (
        accounts,
        attempts,
        commands,
        credentials,
        events,
        explain,
        instance,
        limits,
        suppressions,
        suspensions,
        tenants,
        tokens,
        views,
    )

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Operation(Generic[T]):
    """A method on a path; `T` is the JSON of a success, None where there is none, bytes where it is no JSON."""

    method: str
    path: str

    def url(self, *ids: str) -> str:
        """The path with `ids` in its places, each a segment of its own whatever is in it."""
        pieces = self.path.split("{")
        if len(ids) != len(pieces) - 1:
            raise TypeError(f"{self.path} takes {len(pieces) - 1} ids, not {len(ids)}")
        filled = (quote(one, safe="") + piece.partition("}")[2] for one, piece in zip(ids, pieces[1:], strict=True))
        return pieces[0] + "".join(filled)


@dataclass(frozen=True)
class Listing(Operation[T], Generic[T, Item]):
    """An operation whose answer has `items` and a `next_cursor`."""


@dataclass(frozen=True)
class Stream(Operation[bytes], Generic[Item]):
    """An operation whose answer is a stream of events; `Item` is the JSON of each."""


SUBMIT: Operation[views.SubmittedOut] = Operation("POST", "/v1/messages")
SUBMIT_BATCH: Operation[views.BatchOut] = Operation("POST", "/v1/messages/batch")
SUBMIT_RAW: Operation[views.SubmittedOut] = Operation("POST", "/v1/messages/raw")
LIST_MESSAGES: Listing[views.MessagesOut, views.MessageOut] = Listing("GET", "/v1/messages")
SHOW_MESSAGE: Operation[views.MessageOut] = Operation("GET", "/v1/messages/{id}")
SHOW_EVENTS: Listing[events.EventsOut, events.EventOut] = Listing("GET", "/v1/messages/{id}/events")
SHOW_ATTEMPTS: Listing[attempts.AttemptsOut, attempts.AttemptOut] = Listing("GET", "/v1/messages/{id}/attempts")
EXPLAIN_MESSAGE: Operation[explain.ExplainOut] = Operation("GET", "/v1/messages/{id}/explain")
SHOW_CONTENT: Operation[bytes] = Operation("GET", "/v1/messages/{id}/content")
HOLD_MESSAGE: Operation[views.ActedOut] = Operation("POST", "/v1/messages/{id}/hold")
RELEASE_MESSAGE: Operation[views.ActedOut] = Operation("POST", "/v1/messages/{id}/release")
CANCEL_MESSAGE: Operation[views.ActedOut] = Operation("POST", "/v1/messages/{id}/cancel")
RETRY_MESSAGE: Operation[views.ActedOut] = Operation("POST", "/v1/messages/{id}/retry")
REROUTE_MESSAGE: Operation[views.ActedOut] = Operation("POST", "/v1/messages/{id}/reroute")
DELETE_MESSAGE: Operation[None] = Operation("DELETE", "/v1/messages/{id}")
ACT_ON_MESSAGES: Operation[views.BulkOut] = Operation("POST", "/v1/messages/bulk")
LIST_EVENTS: Operation[events.FeedOut] = Operation("GET", "/v1/events")
STREAM_EVENTS: Stream[events.FeedEventOut] = Stream("GET", "/v1/events/stream")

LIST_BATCHES: Listing[suspensions.BatchesOut, suspensions.BatchStandingOut] = Listing("GET", "/v1/batches")
SUSPEND_BATCH: Operation[suspensions.SuspensionOut] = Operation("POST", "/v1/batches/{batch}/suspend")
RESUME_BATCH: Operation[suspensions.SuspensionOut] = Operation("POST", "/v1/batches/{batch}/resume")

LIST_SUPPRESSIONS: Listing[suppressions.SuppressionsOut, suppressions.SuppressionOut] = Listing(
    "GET", "/v1/suppressions"
)
ADD_SUPPRESSION: Operation[suppressions.SuppressionOut] = Operation("POST", "/v1/suppressions")
IMPORT_SUPPRESSIONS: Operation[suppressions.ImportedOut] = Operation("POST", "/v1/suppressions/import")
EXPORT_SUPPRESSIONS: Operation[bytes] = Operation("GET", "/v1/suppressions/export")
SHOW_SUPPRESSION: Operation[suppressions.SuppressionOut] = Operation("GET", "/v1/suppressions/{address}")
DELETE_SUPPRESSION: Operation[None] = Operation("DELETE", "/v1/suppressions/{address}")

LIST_TENANTS: Listing[tenants.TenantsOut, tenants.TenantOut] = Listing("GET", "/v1/tenants")
ADD_TENANT: Operation[tokens.IssuedTokenOut] = Operation("POST", "/v1/tenants")
SHOW_TENANT: Operation[tenants.TenantOut] = Operation("GET", "/v1/tenants/{id}")
CHANGE_TENANT: Operation[tenants.TenantOut] = Operation("PATCH", "/v1/tenants/{id}")
DELETE_TENANT: Operation[None] = Operation("DELETE", "/v1/tenants/{id}")
SUSPEND_TENANT: Operation[suspensions.SuspensionOut] = Operation("POST", "/v1/tenants/{id}/suspend")
RESUME_TENANT: Operation[suspensions.SuspensionOut] = Operation("POST", "/v1/tenants/{id}/resume")

LIST_ACCOUNTS: Listing[accounts.AccountsOut, accounts.AccountOut] = Listing("GET", "/v1/accounts")
ADD_ACCOUNT: Operation[accounts.AccountOut] = Operation("POST", "/v1/accounts")
SHOW_ACCOUNT: Operation[accounts.AccountOut] = Operation("GET", "/v1/accounts/{id}")
CHANGE_ACCOUNT: Operation[accounts.AccountOut] = Operation("PATCH", "/v1/accounts/{id}")
DELETE_ACCOUNT: Operation[None] = Operation("DELETE", "/v1/accounts/{id}")
ENABLE_ACCOUNT: Operation[accounts.AccountOut] = Operation("POST", "/v1/accounts/{id}/enable")
DISABLE_ACCOUNT: Operation[accounts.AccountOut] = Operation("POST", "/v1/accounts/{id}/disable")
TEST_ACCOUNT: Operation[instance.ProbeOut] = Operation("POST", "/v1/accounts/{id}/test")

LIST_LIMITS: Listing[limits.LimitsStandingOut, limits.LimitStandingOut] = Listing("GET", "/v1/limits")

LIST_CREDENTIALS: Listing[credentials.CredentialsOut, credentials.CredentialOut] = Listing("GET", "/v1/credentials")
ADD_CREDENTIAL: Operation[credentials.IssuedCredentialOut] = Operation("POST", "/v1/credentials")
SHOW_CREDENTIAL: Operation[credentials.CredentialOut] = Operation("GET", "/v1/credentials/{username}")
CHANGE_CREDENTIAL: Operation[credentials.CredentialOut] = Operation("PATCH", "/v1/credentials/{username}")
ROTATE_CREDENTIAL: Operation[credentials.IssuedCredentialOut] = Operation("POST", "/v1/credentials/{username}/rotate")
DELETE_CREDENTIAL: Operation[None] = Operation("DELETE", "/v1/credentials/{username}")

LIST_TOKENS: Listing[tokens.TokensOut, tokens.TokenOut] = Listing("GET", "/v1/tokens")
ADD_TOKEN: Operation[tokens.IssuedTokenOut] = Operation("POST", "/v1/tokens")
SHOW_TOKEN: Operation[tokens.TokenOut] = Operation("GET", "/v1/tokens/{id}")
CHANGE_TOKEN: Operation[tokens.TokenOut] = Operation("PATCH", "/v1/tokens/{id}")
ROTATE_TOKEN: Operation[tokens.IssuedTokenOut] = Operation("POST", "/v1/tokens/{id}/rotate")
REVOKE_TOKEN: Operation[None] = Operation("DELETE", "/v1/tokens/{id}")

LIST_COMMANDS: Listing[commands.CommandsOut, commands.CommandOut] = Listing("GET", "/v1/commands")
EXPORT_COMMANDS: Operation[bytes] = Operation("GET", "/v1/commands/export")
PURGE_COMMANDS: Operation[commands.RemovedOut] = Operation("DELETE", "/v1/commands")

SHOW_INSTANCE: Operation[instance.InstanceOut] = Operation("GET", "/v1/instance")
REPLACE_INSTANCE: Operation[instance.InstanceSettingsOut] = Operation("PUT", "/v1/instance")
CHANGE_INSTANCE: Operation[instance.InstanceSettingsOut] = Operation("PATCH", "/v1/instance")
SHOW_QUEUE: Operation[instance.QueuesOut] = Operation("GET", "/v1/queue")
SHOW_LIVE: Operation[instance.HealthOut] = Operation("GET", "/health/live")
SHOW_READY: Operation[instance.HealthOut] = Operation("GET", "/health/ready")
SHOW_METRICS: Operation[bytes] = Operation("GET", "/metrics")
SHOW_OPENAPI: Operation[dict[str, Any]] = Operation("GET", "/openapi.json")
