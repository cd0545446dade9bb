"""Act: what an operator does to a message that was accepted."""

from __future__ import annotations

from relay.model.word import Word


class Act(Word):
    """Each concerns the recipients that are in a state for it and are not being attempted at this moment."""

    HOLD = "hold"  # keep back what is open
    RELEASE = "release"  # let go what is held, at its send-at
    CANCEL = "cancel"  # take back what is open
    RETRY = "retry"  # try again now what is open, held, failed or expired
    REROUTE = "reroute"  # send what is open by another account
    DELETE = "delete"  # remove a message that is closed, with its content


class WhyNot(Word):
    """Why an act did nothing to a message."""

    UNDER_WAY = "under_way"  # all that it concerns is being attempted
    NOTHING = "nothing"  # no recipient is in a state for it
    OPEN = "open"  # it cannot be deleted yet
    SAME_ACCOUNT = "same_account"  # it goes by that account already
    SUPPRESSED = "suppressed"  # whom it would be sent to again is on the list of suppressions
    NO_CONTENT = "no_content"  # its content was kept long enough and is gone
