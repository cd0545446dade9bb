"""Phrase: what a status is called, as RFC 9110 has it (§15). Python's own words changed with 3.13."""

from http import HTTPStatus

_RENAMED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def phrase(status: int) -> str:
    """Of a status that is known; ValueError for another."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase
