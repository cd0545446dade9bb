"""Identity: who the client of one session is, by AUTH, by the network it stands in, or by being on this machine."""

from __future__ import annotations

from relay.errors import Refusal, Rejected
from relay.ingress.authenticator import Authenticator
from relay.ingress.settings import AuthWithoutTls, DoorSettings
from relay.ingress.trust import LOOPBACK, ClientAddress, principal_of
from relay.intake.submission import Principal
from relay.model.tenant import Credential


class Identity:
    """Starts with nobody. `loopback_listener`: the client came in by a socket that is bound to loopback."""

    def __init__(
        self,
        authenticator: Authenticator,
        settings: DoorSettings,
        client: ClientAddress | None,
        *,
        loopback_listener: bool,
    ) -> None:
        self._authenticator = authenticator
        self._settings = settings
        self._client = client
        self._on_this_machine = client is not None and client.is_loopback
        self._loopback_listener = loopback_listener
        self._credential: Credential | None = None
        self._principal: Principal | None = None
        """That of `_credential`, or of loopback: made once, used for every message."""
        self._asked_networks = False
        self._asked_at = -1
        """The directory's generation when it was last asked."""
        self.authenticated = False
        """Whether by AUTH."""
        self.failures = 0
        """Wrong secrets on this connection; STARTTLS does not reset them."""

    def forget(self) -> None:
        """Back to nobody (RFC 3207 §4.2)."""
        self._credential = self._principal = None
        self._asked_networks = self.authenticated = False

    def may_authenticate(self, *, secure: bool) -> bool:
        """Whether AUTH is taken on this connection."""
        policy = self._settings.auth_without_tls
        return (
            secure or policy is AuthWithoutTls.ALWAYS or (policy is AuthWithoutTls.LOOPBACK and self._on_this_machine)
        )

    async def authenticate(self, username: str, secret: str) -> bool:
        """Try a secret. TryLater, StoreUnavailable."""
        credential = await self._authenticator.authenticate(username, secret, self._client, self.failures)
        if credential is None:
            self.failures += 1
            return False
        self._credential, self._principal, self.authenticated = credential, None, True
        return True

    def known_principal(self) -> Principal | None:
        """Who hands in the next message, where that is known without asking; None: `principal` is to be asked."""
        credential = self._credential
        if self._principal is None or (credential is None and self.authenticated):
            return None
        if credential is not None and (
            credential.previous_hash is not None or not 0 <= self._asked_at == self._authenticator.generation
        ):
            return None
        return self._principal

    async def principal(self) -> Principal | None:
        """Who hands in the next message, as the directory has it now; None: nobody is known.

        Rejected (AUTH_REQUIRED) where what AUTH proved has been withdrawn: such a client must not become another one.
        """
        before = self._credential
        asked_at = self._authenticator.generation
        if before is not None:
            self._credential = await self._authenticator.current(before)
        if self._credential is None and self.authenticated:
            raise Rejected(Refusal.AUTH_REQUIRED)
        if self._credential is None and not self._asked_networks:
            self._asked_networks = True
            self._credential = await self._authenticator.by_network(self._client)
        if self._principal is None or self._credential is not before:
            self._principal = self._by_loopback() if self._credential is None else principal_of(self._credential)
        self._asked_at = asked_at
        return self._principal

    def _by_loopback(self) -> Principal | None:
        """Only where nobody else can reach the listener; a forwarded port or a proxy makes strangers look local."""
        tenant = self._settings.loopback_tenant
        if tenant is None or not (self._loopback_listener and self._on_this_machine):
            return None
        return Principal(tenant=tenant, name=LOOPBACK)
