"""Word: a term that code, SQL, API, command line and log spell alike, as a member of an enum."""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING


class Word(StrEnum):
    """A StrEnum whose `value`, the plain str that databases and marshal take, costs no call: the enum module's makes two of
    Python's, and a message on its way spells a dozen words."""

    if not TYPE_CHECKING:  # where it has the type that checkers know it by
        value = property(attrgetter("_value_"))
