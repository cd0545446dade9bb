"""Cache: look-ups answered from memory until anything of the configuration changes; then all of it is forgotten.

What was not found is remembered as well, but in a place of its own and bounded, since anybody can ask for anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
MAX_MISSING = 4096
"""Of each kind."""


class Cache:
    """What all kinds of look-ups have in common: they are forgotten together."""

    def __init__(self) -> None:
        self._empty: list[Callable[[], None]] = []
        self._generation = 0
        self.enabled = True
        """Off while changes made elsewhere might not be heard of."""
        self.on_forget: list[Callable[[], None]] = []
        """Called after each change, ours and other instances'."""
        self.changes: Callable[[], int] | None = None
        """How often the configuration has been changed, where that can be asked at any time: a change is then seen at once,
        even before it is heard of."""
        self._seen = 0

    def kind(self, look_up: Callable[[K], Awaitable[T]]) -> Known[K, T]:
        """Look-ups of a kind of their own; what `look_up` answers None of is missing."""
        known = Known(self, look_up)
        self._empty.append(known.forget)
        return known

    @property
    def generation(self) -> int:
        """Rises with each change: what was looked up before holds while it stands. Below zero: one may go unheard."""
        if self.changes is not None:
            self.catch_up()
        return self._generation if self.enabled else -1

    def catch_up(self) -> None:
        """Where changes can be asked for: forget if there was one."""
        if self.changes is not None and self.changes() != self._seen:
            self.forget()

    def forget(self) -> None:
        """Something has changed. What is being looked up right now will not be kept either."""
        self._generation += 1
        if self.changes is not None:
            self._seen = self.changes()
        for empty in self._empty:
            empty()
        for callback in self.on_forget:
            callback()


class Known(Generic[K, T]):
    """Keeps what was found of one kind until it is forgotten."""

    def __init__(self, cache: Cache, look_up: Callable[[K], Awaitable[T]]) -> None:
        """Use `Cache.kind`."""
        self._cache = cache
        self._look_up = look_up
        self._found: dict[K, T] = {}
        self._missing: OrderedDict[K, T] = OrderedDict()

    async def get(self, key: K) -> T:
        """The value of `key`; without suspension where it is known. None means that there is none."""
        if self._cache.changes is not None:
            self._cache.catch_up()
        try:
            return self._found[key]
        except KeyError:
            pass
        if key in self._missing:
            self._missing.move_to_end(key)
            return self._missing[key]
        generation = self._cache.generation
        value = await self._look_up(key)
        if generation == self._cache.generation >= 0:
            self._keep(key, value)
        return value

    def forget(self) -> None:
        """All of it."""
        self._found.clear()
        self._missing.clear()

    def _keep(self, key: K, value: T) -> None:
        if value is not None:
            self._found[key] = value
            return
        self._missing[key] = value
        if len(self._missing) > MAX_MISSING:
            self._missing.popitem(last=False)
