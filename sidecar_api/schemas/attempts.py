"""Attempts, as the API shows them: each try with what was said."""

from __future__ import annotations

from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.delivery import Attempt, RecipientOutcome
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.views import ReplyOut, reply_out


@example(
    {
        "position": 0,
        "verdict": "sent",
        "category": "none",
        "phase": "dot",
        "reply": {"code": 250, "enhanced": "2.0.0", "text": "ok"},
    }
)
@exact
class OutcomeOut(TypedDict):
    """What an attempt brought one recipient (by its place in the message's recipients)."""

    position: int
    verdict: str
    category: str
    phase: str
    reply: ReplyOut | None


@exact
class FaultOut(TypedDict):
    """Why the attempt failed for all of them: the account's or the way's fault."""

    category: str
    phase: str
    reply: ReplyOut | None
    detail: str


@example(
    {
        "started_at": "2026-01-01T09:00:00Z",
        "finished_at": "2026-01-01T09:00:01Z",
        "next_hop": "smtp.example.com:587",
        "peer": "192.0.2.25",
        "tls": "TLSv1.3",
        "reused": False,
        "fault": None,
        "outcomes": [
            {
                "position": 0,
                "verdict": "sent",
                "category": "none",
                "phase": "dot",
                "reply": {"code": 250, "enhanced": "2.0.0", "text": "ok"},
            }
        ],
        "transcript": ["0 > MAIL FROM:<sales@example.org> SIZE=4096", "31 < 250 2.1.0 ok"],
    }
)
@exact
class AttemptOut(TypedDict):
    """One try. `transcript`: milliseconds since it began, who spoke (`>` we, `<` the server), and what."""

    started_at: str
    finished_at: str
    next_hop: str
    peer: str | None
    tls: str | None
    reused: bool
    fault: FaultOut | None
    outcomes: list[OutcomeOut]
    transcript: list[str]


@exact
class AttemptsOut(TypedDict):
    """In order."""

    items: list[AttemptOut]
    next_cursor: str | None


def _outcome_out(outcome: RecipientOutcome) -> OutcomeOut:
    return OutcomeOut(
        position=outcome.position,
        verdict=outcome.verdict,
        category=outcome.category,
        phase=outcome.phase,
        reply=reply_out(outcome.reply),
    )


def attempt_out(attempt: Attempt) -> AttemptOut:
    """An attempt."""
    fault = attempt.fault
    return AttemptOut(
        started_at=rfc3339(attempt.started_at),
        finished_at=rfc3339(attempt.finished_at),
        next_hop=attempt.next_hop,
        peer=attempt.peer,
        tls=attempt.tls,
        reused=attempt.reused,
        fault=None
        if fault is None
        else FaultOut(category=fault.category, phase=fault.phase, reply=reply_out(fault.reply), detail=fault.detail),
        outcomes=[_outcome_out(one) for one in attempt.outcomes],
        transcript=list(attempt.transcript),
    )
