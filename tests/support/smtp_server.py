"""A scripted SMTP server on loopback: the world outside, as tests need it. It shares no code with the relay.

    async with SmtpServer() as server:
        server.to("bob@example.com", "550 5.1.1 no such mailbox")      # for good
        server.on("dot", "451 4.3.0 not now", OK)                      # the first time this, from then on that
        ...
        [message] = await server.wait_for(1)

`python -m tests.support.smtp_server --port 0 --log FILE` runs one as a process of its own: it prints its port and appends
every message to FILE *before* it answers, so that the file is the truth about what was received.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.smtp_conversation import Conversation
from tests.support.smtp_script import DROP, EXTENSIONS, OK, Action, Received, Scripted, Session, Step, to_action

__all__ = ["DROP", "EXTENSIONS", "OK", "Action", "Received", "Scripted", "Session", "SmtpServer", "Step"]


class SmtpServer:
    """`users`: AUTH is offered (over TLS only, where there is `tls`); with `auth_required` MAIL needs it."""

    def __init__(
        self,
        *,
        port: int = 0,
        extensions: Sequence[str] = EXTENSIONS,
        esmtp: bool = True,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: Mapping[str, str] | None = None,
        auth_methods: str = "PLAIN LOGIN",
        auth_required: bool = False,
        keep_content: bool = True,
        log: Path | None = None,
    ) -> None:
        self.port = port
        self.extensions = tuple(extensions)
        self.esmtp = esmtp
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.users = users
        self.auth_methods = auth_methods
        self.auth_required = auth_required
        self.keep_content = keep_content
        self.messages: list[Received] = []
        self.sessions: list[Session] = []
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._script: dict[str, list[Action]] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: dict[Session, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the script ---------------------------------------------------------------------------------------------------

    def on(self, step: Step, *actions: Scripted) -> None:
        """What to do at a step: one action each time, the last one from then on. Without actions: as usual again."""
        self._script[step] = [to_action(action) for action in actions]

    def to(self, address: str, *actions: Scripted) -> None:
        """What to do at RCPT of this address."""
        self._script[f"rcpt {address}"] = [to_action(action) for action in actions]

    def next_action(self, key: str) -> Action | None:
        """The action due now, if there is one."""
        actions = self._script.get(key)
        if not actions:
            return None
        return actions.pop(0) if len(actions) > 1 else actions[0]

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen; `port` is known afterwards."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 16, ssl=self.tls if self.implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait_for(self, count: int, seconds: float = 10) -> list[Received]:
        """The messages received, as soon as there are `count` of them; TimeoutError."""
        await self._until(lambda: len(self.messages) >= count, seconds)
        return list(self.messages)

    async def wait_for_sessions(self, count: int, seconds: float = 10) -> list[Session]:
        """The connections made, as soon as there are `count` of them; TimeoutError."""
        await self._until(lambda: len(self.sessions) >= count, seconds)
        return list(self.sessions)

    async def wait_for_command(self, verb: str, seconds: float = 10) -> None:
        """Return once a command with this verb has come on the newest connection; TimeoutError."""
        await self._until(
            lambda: bool(self.sessions) and any(c.startswith(verb) for c in self.sessions[-1].commands), seconds
        )

    def note_change(self) -> None:
        """Something has happened that a test may wait for."""
        self._changed.set()

    async def _until(self, fulfilled: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not fulfilled():
                self._changed.clear()
                await self._changed.wait()

    def drop_connections(self) -> None:
        """Close every connection now, as a server that restarts does."""
        for writer in self._writers.values():
            writer.close()

    def inject(self, data: bytes) -> None:
        """Say something unasked on every connection."""
        for writer in self._writers.values():
            writer.write(data)

    def record(self, message: Received) -> None:
        """Keep a message; the log has it before any answer."""
        if self._log is not None:
            head = message.content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
            line = {
                "sender": message.sender,
                "recipients": message.recipients,
                "size": message.size,
                "sha256": message.sha256,
                "head": head,
                "answer": message.answer,
            }
            os.write(self._log, json.dumps(line).encode() + b"\n")
        else:
            self.messages.append(message)
        self._changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(len(self.sessions) + 1, tls=self.implicit_tls)
        self.sessions.append(session)
        self._changed.set()
        self._writers[session] = writer
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await Conversation(self, session, reader, writer).run()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            del self._writers[session]
            session.ended.set()
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.smtp_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True, help="a JSON line for each message, before the answer")
    parser.add_argument("--user", help="demand AUTH with this user name")
    parser.add_argument("--password", default="")
    parser.add_argument("--rcpt", action="append", default=[], metavar="ADDRESS=REPLY")
    parser.add_argument("--on", action="append", default=[], metavar="STEP=REPLY", help="DROP closes the connection")
    options = parser.parse_args()
    users = {options.user: options.password} if options.user else None
    server = SmtpServer(
        port=options.port, users=users, auth_required=users is not None, keep_content=True, log=options.log
    )
    for address, _, reply in (entry.partition("=") for entry in options.rcpt):
        server.to(address, reply)
    for step, _, reply in (entry.partition("=") for entry in options.on):
        server.on(step, DROP if reply == "DROP" else reply)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    print(server.port, flush=True)
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_main())
