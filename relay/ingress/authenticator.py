"""Authenticator: is this the secret of that user? Never on the loop for long, and never quickly for the wrong one.

A wrong secret, an unknown user and a credential used from elsewhere are answered alike, after the same time. Guessing is
slowed for each client address; a good client at another address does not feel it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from secrets import token_bytes
from typing import Protocol

from relay.clock import MINUTE, SECOND, Clock
from relay.ingress.faults import ProtocolError
from relay.ingress.throttle import Throttle
from relay.ingress.trust import ClientAddress, by_network, may_use_from, throttle_key
from relay.model.tenant import USERNAME, Credential
from relay.secrets import is_slow, verify

_HASHERS = 2
_MAX_WAITING = 32
_LONGEST_WAIT = 10 * SECOND
_CACHE_TIME = MINUTE
_CACHE_SIZE = 1024


class Credentials(Protocol):
    """What is asked of the directory."""

    @property
    def generation(self) -> int:
        """Rises with each change of the configuration; below zero where one might go unheard."""

    async def credential(self, username: str) -> Credential | None:
        """By AUTH user name."""

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        """All of a tenant, or all."""


class TryLater(ProtocolError):
    """Too many tries from this address, or too many at once: nothing was checked (RFC 4954 §4.1, 454)."""

    def __init__(self) -> None:
        super().__init__(454, "4.7.0", "too many authentication attempts, try again later")


class Authenticator:
    """One for a door: its threads, its cache and its throttle are shared by all sessions."""

    def __init__(self, directory: Credentials, clock: Clock, *, failure_delay: float, failures_per_minute: int) -> None:
        self._directory = directory
        self._clock = clock
        self._failure_delay = max(1, round(failure_delay * SECOND))
        self._throttle = Throttle(failures_per_minute)
        self._hashers: ThreadPoolExecutor | None = None
        self._hashing = 0
        self._key = token_bytes(32)
        self._verified: OrderedDict[bytes, int] = OrderedDict()

    async def authenticate(
        self, username: str, secret: str, client: ClientAddress | None, failures: int
    ) -> Credential | None:
        """The user's credential, or None after a delay that doubles with the `failures` the connection has seen.

        TryLater where this address has tried too often; StoreUnavailable.
        """
        key = throttle_key(client)
        began = self._clock.boot()
        wait = self._throttle.take(key, began, _LONGEST_WAIT)
        if wait is None:
            raise TryLater
        if wait:
            await self._sleep(wait)
        credential = await self._check(username, secret, client)
        if credential is not None:
            self._throttle.give_back(key)
            return credential
        # To the next full step of the delay: how long the check took, and so whether there was one, does not show.
        step = self._failure_delay << failures
        await self._sleep(step - (self._clock.boot() - began - wait) % step)
        return None

    @property
    def generation(self) -> int:
        """While it stands and is not below zero, a credential without a secret in its last days is what it was."""
        return self._directory.generation

    async def current(self, credential: Credential) -> Credential | None:
        """The credential as it stands now; None where it was deleted, or its secret changed, since it was proven."""
        now = await self._directory.credential(credential.username)
        if now is None or now.tenant != credential.tenant:
            return None
        if credential.secret_hash not in {now.secret_hash, *now.hashes(self._clock.now())}:
            return None
        return now

    async def by_network(self, client: ClientAddress | None) -> Credential | None:
        """The credential that a client has by where it stands."""
        return None if client is None else by_network(client, await self._directory.credentials(None))

    def close(self) -> None:
        """Let the threads go."""
        if self._hashers is not None:
            self._hashers.shutdown(wait=False, cancel_futures=True)

    async def _check(self, username: str, secret: str, client: ClientAddress | None) -> Credential | None:
        if not secret or not USERNAME.fullmatch(username):
            return None
        credential = await self._directory.credential(username)
        if credential is None or not may_use_from(credential, client):
            return None
        for stored in credential.hashes(self._clock.now()):
            if await self._check_slowly(secret, stored) if is_slow(stored) else verify(secret, stored):
                return credential
        return None

    async def _check_slowly(self, secret: str, stored: str) -> bool:
        """Off the loop, and for a right secret once a minute. The cache holds no secret, and follows a change of it."""
        entry = hmac.digest(self._key, f"{stored}\0{secret}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        if self._verified.get(entry, 0) > self._clock.boot():
            self._verified.move_to_end(entry)
            return True
        if self._hashing >= _MAX_WAITING:
            raise TryLater
        if self._hashers is None:
            self._hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="smtp-auth")
        self._hashing += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._hashers, verify, secret, stored)
        finally:
            self._hashing -= 1
        if right:
            self._verified[entry] = self._clock.boot() + _CACHE_TIME
            while len(self._verified) > _CACHE_SIZE:
                self._verified.popitem(last=False)
        return right

    async def _sleep(self, duration: int) -> None:
        await self._clock.pause(duration)
