"""Team: what a worker and the others know of each other, so that each of them can answer for the instance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson

from relay.metrics import OF_THE_INSTANCE, Metrics
from relay.workers.exchange import Exchange
from relay.workers.figures import Figures, merge
from relay.workers.worker import Worker


class Team:
    """`ill_parts`: what keeps this worker from being ready; `follow` has it act by the instance's settings."""

    def __init__(
        self,
        worker: Worker,
        metrics: Metrics,
        ill_parts: Callable[[], Awaitable[Mapping[str, str]]],
        follow: Callable[[], Awaitable[None]],
    ) -> None:
        self._silent = metrics.workers_silent
        self._figures = Figures(metrics.registry, worker.directory, worker.number)
        self._ill_parts = ill_parts
        self._follow = follow
        answers = {"figures": self._own_figures, "health": self._own_health, "follow": self._follow_too}
        self._exchange = Exchange(worker.directory, worker.number, worker.count, answers)

    async def start(self) -> None:
        """Answer the others."""
        await self._exchange.start()

    async def stop(self) -> None:
        """Answer no more."""
        await self._exchange.stop()

    async def figures(self) -> bytes:
        """The metrics of all, as Prometheus reads them."""
        told = await self._exchange.ask("figures")
        silent = [number for number, answer in told.items() if answer is None]
        self._silent.set(len(silent))
        texts = [self._figures.own().decode()]
        self._silent.set(0)  # it is said once, not by every worker
        texts += [answer.decode() for answer in told.values() if answer is not None]
        return merge([*texts, *map(self._figures.remains, silent)], OF_THE_INSTANCE)

    async def ill_parts(self) -> Mapping[str, str]:
        """What keeps any of them from being ready."""
        ill = dict(await self._ill_parts())
        for number, answer in (await self._exchange.ask("health")).items():
            if answer is None:
                ill[f"worker {number}"] = "does not answer"
            else:
                ill = {**orjson.loads(answer), **ill}
        return ill

    async def follow(self) -> None:
        """All of them act by the settings when this returns; one that does not answer will, once it hears of the change."""
        await self._follow()
        await self._exchange.ask("follow")

    async def _follow_too(self) -> bytes:
        await self._follow()
        return b"followed"

    async def _own_figures(self) -> bytes:
        return self._figures.own()

    async def _own_health(self) -> bytes:
        return orjson.dumps(await self._ill_parts())
