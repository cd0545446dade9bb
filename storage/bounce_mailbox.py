"""The bounce mailbox in the store (relay.contracts.BounceMailboxes): two settings, of which the password's is ciphertext."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import orjson

from relay.model.bounce_mailbox import BounceMailbox
from storage.cipher import Cipher
from storage.configuration import begin_change
from storage.database import Database
from storage.directory import Directory
from storage.rows import write_json
from storage.work import Work, execute, fetch_one

_FACTS = "bounce_mailbox"
_PASSWORD = "bounce_password"  # noqa: S105  # a name
_PLACE = ("settings", "value", "", _PASSWORD)


class BounceMailboxes:
    """Satisfies relay.contracts.BounceMailboxes."""

    def __init__(self, database: Database, directory: Directory, cipher: Cipher) -> None:
        self._database = database
        self._directory = directory
        self._cipher = cipher

    async def bounce_mailbox(self) -> BounceMailbox:
        """See BounceMailboxes."""
        return await self._database.read(_find(self._cipher))

    async def change_bounce_mailbox(self, change: Callable[[BounceMailbox], BounceMailbox]) -> BounceMailbox:
        """See BounceMailboxes."""
        return await self._directory.change(_change(self._cipher, change))


def _find(cipher: Cipher) -> Work[BounceMailbox]:
    facts = yield from fetch_one("setting", {"name": _FACTS})
    sealed = yield from fetch_one("setting", {"name": _PASSWORD})
    password = None if sealed is None else cipher.open(sealed[0], *_PLACE)
    return BounceMailbox(**({} if facts is None else orjson.loads(facts[0])), password=password)


def _change(cipher: Cipher, change: Callable[[BounceMailbox], BounceMailbox]) -> Work[BounceMailbox]:
    yield from begin_change()
    current = yield from _find(cipher)
    changed = change(current)
    if changed == current:
        return current
    facts = asdict(changed)
    password = facts.pop("password")
    yield from execute("put_setting", {"name": _FACTS, "value": write_json(facts)})
    if password is None:
        yield from execute("forget_setting", {"name": _PASSWORD})
    else:
        yield from execute("put_setting", {"name": _PASSWORD, "value": cipher.seal(password, *_PLACE)})
    return changed
