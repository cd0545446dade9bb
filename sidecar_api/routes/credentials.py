"""Routes to credentials."""

from __future__ import annotations

from sidecar_api.resources import accounts
from sidecar_api.route import Group, create, delete, get
from sidecar_api.schemas.directory import CredentialIn, CredentialsOut, IssuedCredentialOut

GROUP = Group(
    "credentials",
    "What clients present at the SMTP door: a name and a secret, or a network.",
    (
        get("/v1/credentials", accounts.list_credentials, CredentialsOut, "List credentials"),
        create(
            "/v1/credentials",
            accounts.add_credential,
            CredentialIn,
            IssuedCredentialOut,
            "Make a credential for the SMTP door",
        ),
        delete("/v1/credentials/{username}", accounts.delete_credential, "Delete a credential"),
    ),
)
