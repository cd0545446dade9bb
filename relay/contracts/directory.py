"""Tenants, their accounts, credentials and tokens, and what is set for the instance and beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relay.model.bounce_mailbox import BounceMailbox
from relay.model.client_side import ClientSide
from relay.model.instance import Instance
from relay.model.tenant import Account, Credential, Tenant, Token


class NewToken(NamedTuple):
    """A token that is to be, and the hash of its secret (Directory.token)."""

    token: Token
    secret_hash: str


class Directory(Protocol):
    """The instance's settings, tenants and what they own. Look-ups answer from memory and follow every change at once."""

    async def instance(self) -> Instance:
        """The settings of the store's instance."""

    async def change_instance(self, change: Callable[[Instance], Instance]) -> Instance:
        """The settings as they are now; `change` as in change_tenant."""

    @property
    def generation(self) -> int:
        """Rises with each change: what was looked up before holds while it stands. Below zero: nothing is sure to hold."""

    async def tenant(self, tenant: str) -> Tenant:
        """NotFound."""

    async def tenants(self) -> Sequence[Tenant]:
        """All, by id."""

    async def add_tenant(self, tenant: Tenant, first: NewToken | None = None) -> None:
        """With its first token, where one is given, in one transaction. Conflict where an id is taken."""

    async def change_tenant(self, tenant: str, change: Callable[[Tenant], Tenant]) -> Tenant:
        """The tenant as it is now. NotFound; Invalid where its default account is none.

        `change` is a pure function of the tenant as it stands, run inside the transaction (and not on the event loop's
        thread): what it raises leaves all as it was, and no change of another client is lost between reading and writing.
        """

    async def delete_tenant(self, tenant: str) -> None:
        """With all it owns; Conflict while mail of it is open."""

    async def set_default_account(self, tenant: str, account: str) -> None:
        """`tenant` may be INSTANCE. NotFound where either is missing."""

    async def account(self, tenant: str, account: str | None) -> Account | None:
        """The account that mail of `tenant` naming `account` goes by: the tenant's own, else the instance's of that id.

        None asks for the default: the tenant's, else the instance's.
        """

    async def owned_account(self, owner: str, account: str) -> Account:
        """Exactly this owner's (a tenant or INSTANCE); NotFound."""

    async def accounts(self, owner: str | None) -> Sequence[Account]:
        """All of an owner, or all."""

    async def add_account(self, account: Account, *, default: bool) -> None:
        """Conflict where the id is taken by the same owner. The password is stored encrypted."""

    async def change_account(self, owner: str, account: str, change: Callable[[Account], Account]) -> Account:
        """The account as it is now; `change` as in change_tenant. NotFound."""

    async def note_mended(self) -> None:
        """An account was found in order: what is paused is tried at once, by all instances, as after a change."""

    async def delete_account(self, owner: str, account: str) -> None:
        """Conflict while mail waits for it."""

    async def credential(self, username: str) -> Credential | None:
        """By AUTH user name."""

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        """All of a tenant, or all (those with networks are asked at each connection)."""

    async def add_credential(self, credential: Credential) -> None:
        """Conflict where the user name is taken on this store."""

    async def change_credential(
        self, tenant: str | None, username: str, change: Callable[[Credential], Credential]
    ) -> Credential:
        """The credential as it is now; `change` as in change_tenant. NotFound."""

    async def delete_credential(self, tenant: str | None, username: str) -> None:
        """NotFound."""

    async def token(self, secret_hash: str) -> Token | None:
        """By the SHA-256 of the secret, in hex; after a rotation also of the one before, while that is good."""

    async def tokens(self, tenant: str | None) -> Sequence[Token]:
        """All of a tenant, or all."""

    async def add_token(self, token: Token, secret_hash: str) -> None:
        """Conflict where the id is taken."""

    async def change_token(self, tenant: str | None, token: str, change: Callable[[Token], Token]) -> Token:
        """The token as it is now; `change` as in change_tenant. NotFound."""

    async def rotate_token(self, tenant: str | None, token: str, secret_hash: str, previous_until: int) -> Token:
        """A new secret; the one before is good until `previous_until` (µs). NotFound."""

    def token_used(self, token: str, at: int) -> None:
        """It was presented at `at` (µs): written down within a minute or so."""

    async def revoke_token(self, tenant: str | None, token: str) -> None:
        """NotFound."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a test of an account found: the phase reached, and the reply or error there."""

    ok: bool
    phase: str
    detail: str


class AccountProbe(Protocol):
    """Testing an account for real: connects, secures, authenticates, and says goodbye."""

    async def probe(self, account: Account) -> ProbeResult:
        """Never raises for what the network does."""


class ClientSides(Protocol):
    """Where tenants have their own HTTP servers. Secrets are stored encrypted."""

    async def client_side(self, tenant: str) -> ClientSide:
        """A tenant's; one that says nothing where there is none."""

    async def client_sides(self) -> Mapping[str, ClientSide]:
        """All there are, by tenant."""

    async def change_client_side(self, tenant: str, change: Callable[[ClientSide], ClientSide]) -> ClientSide:
        """As it is now; `change` as in Directory.change_tenant. NotFound: no such tenant."""


class BounceMailboxes(Protocol):
    """The instance's mailbox for notifications. Its password is stored encrypted."""

    async def bounce_mailbox(self) -> BounceMailbox:
        """As it is set up; one that says nothing where there is none."""

    async def change_bounce_mailbox(self, change: Callable[[BounceMailbox], BounceMailbox]) -> BounceMailbox:
        """As it is now; `change` as in Directory.change_tenant."""
