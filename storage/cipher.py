"""Cipher: secrets at rest by AES-256-GCM, each bound to its place.

The key file has a line `<key id> <base64 of 32 bytes>` for each key; the first encrypts, all decrypt, so that a key is
changed by putting a new line on top. A value is `v1:<key id>:<base64 of nonce and ciphertext>`; table, column, tenant and
row are authenticated with it, so that a ciphertext moved elsewhere does not open. The store remembers which keys belong to
it, and is not opened without them.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import StoreError
from storage.database import Database
from storage.work import Lock, Work, execute, fetch, fetch_one

KEY_ID = "key_id"
"""The setting that names the key which encrypts."""
_LINE = re.compile(r"([A-Za-z0-9._-]{1,32})[ \t]+([A-Za-z0-9+/=]{44})")
_NONCE = 12
_KEY = 32


class Cipher:
    """Seals and opens secrets. Holds keys: never shown, not even by repr."""

    def __init__(self, keys: Mapping[str, bytes], file: Path) -> None:
        """`keys` by id; the first encrypts. `file` is named in errors."""
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._file = file
        self.key_id = next(iter(keys))

    def seal(self, secret: str, *place: str) -> str:
        """Ciphertext of a secret that stands at `place`: table, column, tenant, row id."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._keys[self.key_id].encrypt(nonce, secret.encode(), _bound_to(place))
        return f"v1:{self.key_id}:{b64encode(sealed).decode()}"

    def open(self, value: str, *place: str) -> str:
        """The secret. StoreError where the key is missing or the value is not what was stored there."""
        key_id = key_id_of(value)
        self.require([key_id])
        sealed = b64decode(value.rpartition(":")[2])
        try:
            return self._keys[key_id].decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound_to(place)).decode()
        except InvalidTag:
            raise StoreError(
                f"the secret of {' '.join(place)} does not open with key {key_id} of {self._file}: "
                "it was moved or altered; enter it again"
            ) from None

    def require(self, key_ids: Iterable[str]) -> None:
        """StoreError where a key is missing."""
        if missing := sorted(set(key_ids) - self._keys.keys()):
            raise StoreError(
                f"the store was encrypted with key {missing[0]}, which is not in {self._file}: "
                "put the key file that belongs to this store there"
            )


def _bound_to(place: tuple[str, ...]) -> bytes:
    return "|".join(place).encode()


def key_id_of(value: str) -> str:
    """The key that sealed a value."""
    return value.split(":", 2)[1]


def read_keys(file: Path) -> Cipher | None:
    """The keys of a file; None where there is none. StoreError where others may read it or a line is wrong."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"key file {file} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as stream:
        if os.fstat(descriptor).st_mode & 0o077:
            raise StoreError(f"key file {file} can be read by others: chmod 600 {file}")
        lines = [line.strip() for line in stream]
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            key_id, key = _read_line(line, f"key file {file}, line {number}")
            keys[key_id] = key
    if not keys:
        raise StoreError(f"key file {file} holds no key: put the key file that belongs to this store there")
    return Cipher(keys, file)


def _read_line(line: str, where: str) -> tuple[str, bytes]:
    match = _LINE.fullmatch(line)
    key = b64decode(match[2]) if match else b""
    if match is None or len(key) != _KEY:
        raise StoreError(f"{where} is not '<key id> <base64 of {_KEY} bytes>'")
    return match[1], key


def make_keys(file: Path) -> Cipher:
    """A new file with one key, durable when this returns; never over an old one."""
    key_id, key = f"k{secrets.token_hex(4)}", secrets.token_bytes(_KEY)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as stream:
            stream.write(f"{key_id} {b64encode(key).decode()}\n")
            stream.flush()
            os.fsync(stream.fileno())
        return _publish(draft, file) or Cipher({key_id: key}, file)
    except OSError as error:
        raise StoreError(f"key file {file} cannot be made: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, file: Path) -> Cipher | None:
    """Give the finished file its name. Another instance that shares it may have been faster: then its keys."""
    try:
        os.link(draft, file)
    except FileExistsError:
        return read_keys(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return None


async def open_cipher(database: Database, key_file: Path) -> Cipher:
    """The keys that belong to the store; a key is made only for a store that has never known one."""
    cipher = await asyncio.to_thread(read_keys, key_file)
    if cipher is None:
        if known := await database.read(_known_keys()):
            raise StoreError(
                f"the store was encrypted with key {known[0]} and there is no key file {key_file}: "
                "put the key file that belongs to this store there"
            )
        cipher = await asyncio.to_thread(make_keys, key_file)
    await database.write(_adopt(cipher))
    return cipher


def _known_keys() -> Work[list[str]]:
    current = yield from fetch_one("setting", {"name": KEY_ID})
    passwords = yield from fetch("used_passwords")
    return sorted({*([current[0]] if current else []), *(key_id_of(row[0]) for row in passwords)})


def _adopt(cipher: Cipher) -> Work[None]:
    yield Lock("lock_configuration", [("key",)])
    cipher.require((yield from _known_keys()))
    yield from execute("put_setting", {"name": KEY_ID, "value": cipher.key_id})
