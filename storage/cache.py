"""Cache: look-ups answered from memory until anything of the configuration changes; then all of it is forgotten.

What was not found is remembered as well, but in a place of its own and bounded, since anybody can ask for anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")
MAX_MISSING = 4096


class Cache:
    """Keeps what was found until `forget`."""

    def __init__(self) -> None:
        self._found: dict[Hashable, object] = {}
        self._missing: OrderedDict[Hashable, None] = OrderedDict()
        self._generation = 0
        self.enabled = True
        """Off while changes made elsewhere might not be heard of."""
        self.on_forget: list[Callable[[], None]] = []
        """Called after each change, ours and other instances'."""
        self.changes: Callable[[], int] | None = None
        """How often the configuration has been changed, where that can be asked at any time: a change is then seen at once,
        even before it is heard of."""
        self._seen = 0

    @property
    def generation(self) -> int:
        """Rises with each change: what was looked up before holds while it stands. Below zero: one may go unheard."""
        if self.changes is not None and self.changes() != self._seen:
            self.forget()
        return self._generation if self.enabled else -1

    def forget(self) -> None:
        """Something has changed. What is being looked up right now will not be kept either."""
        self._generation += 1
        if self.changes is not None:
            self._seen = self.changes()
        self._found.clear()
        self._missing.clear()
        for callback in self.on_forget:
            callback()

    async def get(self, key: Hashable, look_up: Callable[[], Awaitable[T]]) -> T:
        """The value of `key`; without suspension where it is known. None means that there is none."""
        if self.changes is not None and self.changes() != self._seen:
            self.forget()
        found = self._found.get(key)
        if found is not None:
            return cast("T", found)
        if key in self._missing:
            self._missing.move_to_end(key)
            return cast("T", None)
        generation = self._generation
        value = await look_up()
        if self.enabled and generation == self._generation:
            self._keep(key, value)
        return value

    def _keep(self, key: Hashable, value: object) -> None:
        if value is not None:
            self._found[key] = value
            return
        self._missing[key] = None
        if len(self._missing) > MAX_MISSING:
            self._missing.popitem(last=False)
