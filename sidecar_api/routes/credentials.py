"""Routes to credentials."""

from __future__ import annotations

from sidecar_api.resources import credentials
from sidecar_api.route import Group, create, delete, get
from sidecar_api.schemas.credentials import CredentialIn, CredentialsOut, IssuedCredentialOut

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
        delete("/v1/credentials/{username}", credentials.delete_credential, "Delete a credential"),
    ),
)
