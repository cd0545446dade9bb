"""SASL PLAIN (RFC 4616) and LOGIN as SMTP AUTH carries them (RFC 4954): from base64 to user name and secret."""

from __future__ import annotations

import binascii
from base64 import b64decode

from relay.ingress.faults import ProtocolError

LOGIN_USERNAME = b"334 VXNlcm5hbWU6\r\n"
"""`Username:`, the spelling that old clients compare with."""
LOGIN_PASSWORD = b"334 UGFzc3dvcmQ6\r\n"
PLAIN_CHALLENGE = b"334 \r\n"


def decode_response(response: bytes) -> str:
    """A client's response. ProtocolError where it gave up (`*`) or it is not base64 of UTF-8 text."""
    if response == b"*":
        raise ProtocolError(501, "5.7.0", "authentication cancelled")
    if response == b"=":  # an empty initial response (RFC 4954 §4)
        return ""
    try:
        return b64decode(response, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise ProtocolError(501, "5.5.2", "cannot decode the response") from None


def split_plain(message: str) -> tuple[str, str]:
    """User name and secret. An authorization identity other than the user's own is refused: nobody acts for another here."""
    authorization, first, rest = message.partition("\0")
    username, second, secret = rest.partition("\0")
    if not first or not second or "\0" in secret:
        raise ProtocolError(501, "5.5.2", "not a PLAIN message")
    if authorization not in {"", username}:
        raise ProtocolError(535, "5.7.8", "authorization identity differs from the user name")
    return username, secret
