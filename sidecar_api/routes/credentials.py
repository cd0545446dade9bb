"""Routes to credentials."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import credentials
from sidecar_api.route import Group, act, create, delete, get, patch, settings
from sidecar_api.schemas.credentials import (
    CredentialIn,
    CredentialOut,
    CredentialPatch,
    CredentialsOut,
    IssuedCredentialOut,
    SecretRotationIn,
)

GROUP = Group(
    "credentials",
    "What clients present at the SMTP door: a name and a secret, or a network.",
    (
        get("/v1/credentials", credentials.list_credentials, CredentialsOut, "List credentials"),
        create(
            "/v1/credentials",
            credentials.add_credential,
            CredentialIn,
            IssuedCredentialOut,
            "Make a credential for the SMTP door",
        ),
        settings("/v1/credentials/{username}", credentials.show_credential, CredentialOut, "Show a credential"),
        patch(
            "/v1/credentials/{username}",
            credentials.change_credential,
            CredentialPatch,
            CredentialOut,
            "Change a credential",
        ),
        act(
            "/v1/credentials/{username}/rotate",
            credentials.rotate_credential,
            IssuedCredentialOut,
            "Give it a new secret; the old one stays good for a while",
            access=Access.MANAGE,
            body=SecretRotationIn,
        ),
        delete("/v1/credentials/{username}", credentials.delete_credential, "Delete a credential"),
    ),
)
