"""Secrets: how they are made, hashed and checked, for the credentials of the SMTP door and the tokens of the REST door.

Two kinds, since they need different hashes. A secret that we generate has 192 random bits: no dictionary holds it, so one
SHA-256 keeps it as safe as it will ever be and costs a microsecond. A secret that a person chose may be in a dictionary,
so it costs an attacker, and us, a scrypt each time (RFC 7914); `is_slow` says so, and the caller keeps it off the loop.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode

_SCRYPT_N = 2**14
_SCRYPT_R = 8
_SCRYPT_P = 5
_SCRYPT_MEMORY = 64 * 1024 * 1024
_SALT_OCTETS = 16
_SECRET_OCTETS = 24
_TOKEN_OCTETS = 32
TOKEN_PREFIX = "sp_"  # noqa: S105  # names what it is, for secret scanners and people
MAX_SECRET = 1024
"""Octets; longer ones are refused before any hashing."""


def generate_secret() -> str:
    """A secret of 192 random bits, in the URL-safe base64 alphabet."""
    return secrets.token_urlsafe(_SECRET_OCTETS)


def hash_generated(secret: str) -> str:
    """`sha256$hex`, for a secret of `generate_secret` and for nothing weaker."""
    return f"sha256${_sha256(secret)}"


def hash_chosen(secret: str) -> str:
    """`scrypt$n$r$p$salt$hash` (base64), for a secret that somebody thought up. Takes about a tenth of a second.

    ValueError where it is empty, holds a NUL (RFC 4616 cannot carry it) or is longer than MAX_SECRET octets.
    """
    if not secret or "\0" in secret or len(secret.encode()) > MAX_SECRET:
        raise ValueError(f"a secret must have 1 to {MAX_SECRET} octets and no NUL")
    salt = secrets.token_bytes(_SALT_OCTETS)
    digest = _scrypt(secret, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P)
    fields = (str(_SCRYPT_N), str(_SCRYPT_R), str(_SCRYPT_P), b64encode(salt).decode(), b64encode(digest).decode())
    return "$".join(("scrypt", *fields))


def is_slow(stored: str) -> bool:
    """Whether `verify` takes long enough that it must not run on the event loop."""
    return stored.startswith("scrypt$")


def verify(secret: str, stored: str) -> bool:
    """Whether `secret` is the one that was stored, in constant time. A stored text of no known form matches nothing."""
    if len(secret) > MAX_SECRET:
        return False
    kind, _, rest = stored.partition("$")
    if kind == "sha256":
        return hmac.compare_digest(_sha256(secret), rest)
    if kind != "scrypt":
        return False
    try:
        n, r, p, salt, digest = rest.split("$")
        found = _scrypt(secret, b64decode(salt, validate=True), int(n), int(r), int(p))
        return hmac.compare_digest(found, b64decode(digest, validate=True))
    except ValueError:
        return False


def generate_token() -> tuple[str, str]:
    """A REST token: its id, which may be shown, and its secret text (`sp_…`, 256 random bits), shown once."""
    return secrets.token_hex(6), TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_OCTETS)


def token_hash(secret: str) -> str:
    """What a token is stored and looked up by: SHA-256 of its secret text, in hex."""
    return _sha256(secret)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _scrypt(secret: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY, dklen=32
    )
