"""Credentials, as the API reads and shows them. A secret is shown once, when it is made."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.tenant import Credential
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    AccountRef,
    AllowedSender,
    BatchName,
    Networks,
    Overlap,
    PriorityIn,
    Secret,
    Strict,
    Tags,
    Username,
)
from sidecar_api.schemas.patch import Patch
from sidecar_api.schemas.views import priority_word

_Senders = Annotated[list[AllowedSender], Field(max_length=1000)]


@example({"username": "erp", "allowed_senders": ["@example.com"], "tags": ["erp"]})
class CredentialIn(Strict):
    """A new credential: without `secret` and `networks` a secret is generated and shown once."""

    username: Username
    secret: Secret | None = Field(default=None, repr=False)
    networks: Networks = Field(default_factory=list)
    account: AccountRef | None = None
    allowed_senders: _Senders = Field(default_factory=list)
    priority: PriorityIn | None = None
    batch: BatchName | None = None
    tags: Tags = Field(default_factory=list)


@example({"allowed_senders": ["@example.com"], "batch": None})
class CredentialPatch(Patch):
    """What can be changed of a credential; its secret by a rotation."""

    networks: Annotated[Networks, AfterValidator(tuple)] = Field(default_factory=list)
    account: AccountRef | None = None
    allowed_senders: Annotated[list[AllowedSender], Field(max_length=1000), AfterValidator(tuple)] = Field(
        default_factory=list
    )
    priority: PriorityIn | None = None
    batch: BatchName | None = None
    tags: Annotated[Tags, AfterValidator(tuple)] = Field(default_factory=list)


@example({"overlap": "24h"})
class SecretRotationIn(Strict):
    """A new secret, generated where none is given: what was good before stays so for `overlap`, a day if not said."""

    secret: Secret | None = Field(default=None, repr=False)
    overlap: Overlap = Field(default="24h", validate_default=True)


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
