"""Secrets: made at random, hashed by kind, compared in constant time."""

from __future__ import annotations

import pytest

from relay.model.tenant import IDENTIFIER
from relay.secrets import (
    MAX_SECRET,
    generate_secret,
    generate_token,
    hash_chosen,
    hash_generated,
    is_slow,
    token_hash,
    verify,
)

CHOSEN = hash_chosen("pässword")


def test_generated_secrets_are_long_and_never_the_same() -> None:
    secrets = {generate_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(len(secret) >= 32 and secret.isascii() for secret in secrets)


@pytest.mark.parametrize(
    ("secret", "stored", "right"),
    [
        ("secret", hash_generated("secret"), True),
        ("Secret", hash_generated("secret"), False),
        ("", hash_generated("secret"), False),
        ("pässword", CHOSEN, True),
        ("password", CHOSEN, False),
        ("pässword" + "x" * 5000, CHOSEN, False),
        ("\ud800", CHOSEN, False),
        ("secret", "", False),
        ("secret", "secret", False),
        ("secret", "sha256$", False),
        ("secret", "md5$5ebe2294ecd0e0f08eab7690d2a6ee69", False),
        ("secret", "scrypt$1", False),
        ("secret", "scrypt$x$8$1$AA==$AA==", False),
        ("secret", "scrypt$3$8$1$AA==$AA==", False),
        ("secret", "scrypt$16384$8$5$!$AA==", False),
    ],
    ids=lambda value: ascii(value[:12]) if isinstance(value, str) else None,  # hashes differ from process to process
)
def test_verify(secret: str, stored: str, right: bool) -> None:
    assert verify(secret, stored) is right


def test_what_is_stored_does_not_tell_the_secret() -> None:
    assert hash_chosen("pässword") != CHOSEN
    assert CHOSEN.startswith("scrypt$16384$8$5$")
    assert hash_generated("secret") == "sha256$2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"


@pytest.mark.parametrize("secret", ["", "a\0b", "x" * (MAX_SECRET + 1)])
def test_secrets_that_cannot_be_chosen(secret: str) -> None:
    with pytest.raises(ValueError, match="secret must"):
        hash_chosen(secret)


def test_slow_ones() -> None:
    assert is_slow(CHOSEN)
    assert not is_slow(hash_generated("secret"))


def test_tokens() -> None:
    token, secret = generate_token()
    assert IDENTIFIER.fullmatch(token)
    assert secret.startswith("sp_")
    assert len(secret) >= 43
    assert token_hash(secret) != token_hash(generate_token()[1])
    assert len(token_hash(secret)) == 64
