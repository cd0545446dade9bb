"""`stagepost serve`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from relay.cli.commands import Verb, local_verb
from relay.cli.session import Session

GC_THRESHOLDS = (50_000, 20, 100)
"""Allocations before a look at the youngest objects, and how much rarer the older ones are looked at."""


@click.command("serve", cls=Verb)
@local_verb
def command(session: Session) -> int:
    """Run the relay until SIGTERM or SIGINT. With --json it logs JSON lines.

    Without any configuration it listens on 127.0.0.1:2525 (SMTP) and 127.0.0.1:8025 (REST), keeps everything in
    ~/.local/share/stagepost, and captures mail instead of sending it until an account is added.
    """
    config = session.config
    if session.as_json:
        config = dataclasses.replace(config, server=dataclasses.replace(config.server, log_format="json"))

    import asyncio
    import gc
    from collections.abc import Coroutine

    import uvloop

    from relay.cli.faults import EXPECTED, failure_of
    from relay.crew import serve_in_workers
    from relay.serving import serve

    # A message makes hundreds of objects and no cycles: what is there by now is never looked at again, and the rest seldom.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

    def run(life: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(life)

    def explain(fault: Exception) -> int:
        if not isinstance(fault, EXPECTED):
            raise fault
        failure = failure_of(fault, str(config.server.data_dir))
        failure.show()
        return failure.code

    try:
        if config.server.workers > 1:
            return serve_in_workers(config, run, explain)
        code: int = run(serve(config))
        return code
    except EXPECTED as fault:
        raise failure_of(fault, str(config.server.data_dir)) from None
