"""Credentials, as the API reads and shows them. A secret is shown once, when it is made."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.tenant import Credential
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    AccountRef,
    AllowedSender,
    BatchName,
    Network,
    PriorityIn,
    Secret,
    Strict,
    Tags,
    Username,
)
from sidecar_api.schemas.views import priority_word


@example({"username": "erp", "allowed_senders": ["@example.com"], "tags": ["erp"]})
class CredentialIn(Strict):
    """A new credential: without `secret` and `networks` a secret is generated and shown once."""

    username: Username
    secret: Secret | None = Field(default=None, repr=False)
    networks: list[Network] = Field(default_factory=list, max_length=100)
    account: AccountRef | None = None
    allowed_senders: list[AllowedSender] = Field(default_factory=list, max_length=1000)
    priority: PriorityIn | None = None
    batch: BatchName | None = None
    tags: Tags = Field(default_factory=list)


@example(
    {
        "username": "erp",
        "tenant": "acme",
        "has_secret": True,
        "networks": [],
        "account": None,
        "allowed_senders": ["@example.com"],
        "priority": None,
        "batch": None,
        "tags": ["erp"],
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class CredentialOut(TypedDict):
    """A credential."""

    username: str
    tenant: str
    has_secret: bool
    networks: list[str]
    account: str | None
    allowed_senders: list[str]
    priority: str | None
    batch: str | None
    tags: list[str]
    created_at: str


@exact
class CredentialsOut(TypedDict):
    """All of a tenant."""

    items: list[CredentialOut]
    next_cursor: str | None


@example({"username": "erp", "secret": "…"})
@exact
class IssuedCredentialOut(TypedDict):
    """A new credential; `secret` is shown this once, and null where none was generated."""

    username: str
    secret: str | None


def credential_out(credential: Credential) -> CredentialOut:
    """A credential without its secret."""
    return CredentialOut(
        username=credential.username,
        tenant=credential.tenant,
        has_secret=credential.secret_hash is not None,
        networks=[str(network) for network in credential.networks],
        account=credential.account,
        allowed_senders=list(credential.allowed_senders),
        priority=None if credential.priority is None else priority_word(credential.priority),
        batch=credential.batch,
        tags=list(credential.tags),
        created_at=rfc3339(credential.created_at),
    )
