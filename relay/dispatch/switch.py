"""Switch: dispatch stops and starts as the instance's settings say, in every process that has the store open.

A process dispatches where its configuration lets it (`dispatch.active` of the file: what this machine is for) and the
settings do not stop it (`dispatch.active` of the instance: what holds now, for all). The dispatcher is told of a change, so
that it need not ask.
"""

from __future__ import annotations

import asyncio
import logging

from relay.clock import SECOND, Clock
from relay.contracts.directory import Directory
from relay.dispatch.dispatcher import Dispatcher
from relay.errors import StoreUnavailable

log = logging.getLogger(__name__)

STORE_PAUSE = 1 * SECOND
"""How long to wait before asking a store again that did not answer."""


class Switch:
    """`may_dispatch` is the configuration's word. Nothing is switched on before `start`."""

    def __init__(self, directory: Directory, dispatcher: Dispatcher, clock: Clock, *, may_dispatch: bool) -> None:
        self._directory = directory
        self._dispatcher = dispatcher
        self._clock = clock
        self._may_dispatch = may_dispatch
        self._started = False
        self._active: bool | None = None
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """From now on the settings are followed."""
        self._started = True
        await self.follow()

    async def follow(self) -> None:
        """Do as the settings say. One at a time: who has read last has read what holds."""
        if not self._started:
            return
        async with self._turn:
            active = self._may_dispatch and (await self._directory.instance()).dispatch.active
            if active != self._active:
                if self._active is not None or not active:  # that it is on goes without saying at a start
                    log.info("the scheduler is %s", "on" if active else "off: mail is taken in and waits")
                self._active = active
                self._dispatcher.set_active(active)

    def look(self) -> None:
        """The configuration in the store has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Follow every change."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.follow()
            except StoreUnavailable as error:
                log.warning("the instance's settings: %s", error)
                self._changed.set()
                await self._clock.wait(asyncio.Event(), self._clock.now() + STORE_PAUSE)
