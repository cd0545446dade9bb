"""A message as clients of genro-mail-proxy hand it in."""

from __future__ import annotations

from typing import Any

MAIL: dict[str, Any] = {
    "id": "m1",
    "account_id": "out",
    "from": "Shop <shop@shop.example>",
    "to": ["Ann <ann@a.example>"],
    "subject": "Hello",
    "body": "Good day.",
}


def mail(key: str, **more: Any) -> dict[str, Any]:
    """One with this id, and otherwise as it is said."""
    return {**MAIL, "id": key, **more}
