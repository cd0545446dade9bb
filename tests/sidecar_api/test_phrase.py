"""What statuses are called: by RFC 9110, on every Python."""

from __future__ import annotations

import pytest

from sidecar_api.phrase import phrase


@pytest.mark.parametrize(
    ("status", "called"),
    [
        (202, "Accepted"),
        (404, "Not Found"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (422, "Unprocessable Content"),
        (503, "Service Unavailable"),
    ],
)
def test_phrases(status: int, called: str) -> None:
    assert phrase(status) == called
