"""Share: which part of what the instance may have at once is one worker's, so that all together never have more."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Share:
    """Worker `number` of `count`. What does not divide goes to some, to others for every name: an account of one connection
    is one worker's alone, and such accounts are spread over all of them."""

    number: int = 0
    count: int = 1

    def of(self, total: int, name: str = "") -> int:
        """This worker's part of what `name` may have; the parts of all of them make the total."""
        each, rest = divmod(total, self.count)
        if not rest:
            return each
        turn = (self.number + crc32(name.encode())) % self.count
        return each + (1 if turn < rest else 0)
