"""Core: intake, queue, dispatch and delivery put together as the relay does, without doors: for tests of the way of a
message. Everything in it is real; the clock may be the tests'."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relay.clock import MINUTE, Clock, SystemClock
from relay.contracts.directory import Directory
from relay.contracts.queue import Accepted, MessageQueue
from relay.delivery.connection import Connector
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.timeouts import Timeouts
from relay.dispatch.attempt import Attempter
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.expiry import Expiry
from relay.dispatch.explain import Explainer
from relay.dispatch.leases import Leases
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.settler import Settler
from relay.dispatch.switch import Switch
from relay.intake.accept import Intake, IntakeSettings
from relay.intake.admission import Admission
from relay.intake.submission import Principal, Submission, Trace
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.address import Address
from relay.model.control import Controls
from relay.model.envelope import Envelope
from relay.model.limit import NO_LIMITS, Limits
from relay.model.message import MessageDetail, RecipientState, Source
from relay.model.tenant import Account, AccountKind, OnUnknown, Tenant, TlsMode
from storage import Store, open_store
from tests.support.clock import FakeClock

LEASE = 3 * MINUTE
PATIENCE = Timeouts(connect=5, greeting=5, mail=5, rcpt=5, data=5, body=5, dot=5, reset=5, quit=1)
ACME = "acme"


class LogStream(io.StringIO):
    """The mail log, with a way to wait for what it says."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        self._written.set()
        return written

    def lines(self, *words: str) -> list[str]:
        """Those that hold every one of the words."""
        return [line for line in self.getvalue().splitlines() if all(word in line.split() for word in words)]

    async def wait_for(self, *words: str, count: int = 1, seconds: float = 20) -> list[str]:
        """Such lines, as soon as there are `count`; TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(found := self.lines(*words)) < count:
                self._written.clear()
                await self._written.wait()
        return found


@dataclass(slots=True)
class Core:
    """The parts, and short ways to use them."""

    clock: Clock
    store: Store
    intake: Intake
    dispatcher: Dispatcher
    attempter: Attempter
    explainer: Explainer
    switch: Switch
    leases: Leases
    expiry: Expiry
    admission: Admission
    log: LogStream
    metrics: Metrics

    @property
    def fake(self) -> FakeClock:
        """The clock, where it is the tests'."""
        assert isinstance(self.clock, FakeClock)
        return self.clock

    async def add_account(
        self,
        port: int,
        name: str = "main",
        *,
        tenant: str = ACME,
        max_connections: int = 10,
        on_unknown: OnUnknown = OnUnknown.RETRY,
        kind: AccountKind = AccountKind.SMTP,
        limits: Limits = NO_LIMITS,
    ) -> Account:
        """An account of the tenant that leads to loopback; the first is the default."""
        account = Account(
            tenant,
            name,
            kind,
            "127.0.0.1",
            port,
            TlsMode.NONE,
            max_connections=max_connections,
            on_unknown=on_unknown,
            limits=limits,
        )
        await self.store.directory.add_account(account, default=name == "main")
        return account

    async def add_tenant(self, tenant: str, **facts: Any) -> None:
        """A further one."""
        await self.store.directory.add_tenant(Tenant(tenant, tenant.title(), None, self.clock.now(), **facts))

    async def change_tenant(self, tenant: str = ACME, **facts: Any) -> None:
        """Other facts of a tenant."""
        await self.store.directory.change_tenant(tenant, lambda found: replace(found, **facts))

    async def submit(
        self,
        *recipients: str,
        content: bytes | Iterable[bytes] = b"Subject: hello\r\n\r\nhello\r\n",
        sender: str = "ann@acme.example",
        controls: Controls | None = None,
        tenant: str = ACME,
    ) -> Accepted:
        """Hand in a message."""
        return await self.intake.accept(
            submission(*recipients, content=content, sender=sender, controls=controls, tenant=tenant)
        )

    async def detail(self, accepted: Accepted) -> MessageDetail:
        """How it stands."""
        return await self.store.archive.message(None, accepted.id)

    async def states(self, accepted: Accepted) -> list[RecipientState]:
        """How its recipients stand, in their order."""
        return [recipient.state for recipient in (await self.detail(accepted)).recipients]


def submission(
    *recipients: str,
    content: bytes | Iterable[bytes] = b"Subject: hello\r\n\r\nhello\r\n",
    sender: str = "ann@acme.example",
    controls: Controls | None = None,
    tenant: str = ACME,
) -> Submission:
    """A message at the door."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in [content] if isinstance(content, bytes) else content:
            yield piece

    return Submission(
        source=Source.SMTP,
        principal=Principal(tenant, "ann"),
        envelope=Envelope(Address(sender), tuple(Address(one) for one in recipients or ("bob@b.example",))),
        content=stream(),
        trace=Trace("ESMTPA", "192.0.2.1", "erp.local"),
        controls=controls or Controls(),
    )


@contextlib.asynccontextmanager
async def running_core(
    directory: Path,
    *,
    clock: Clock | None = None,
    url: str | None = None,
    holder: str = "test",
    active: bool = True,
    max_concurrent: int = 100,
    retry: RetryPolicy | None = None,
    settings: IntakeSettings | None = None,
    max_messages: int = 100_000,
    timeouts: Timeouts = PATIENCE,
) -> AsyncIterator[Core]:
    """A core on a store of its own (SQLite in the directory, unless there is a URL), stopped and closed at the end."""
    clock = clock or SystemClock()
    store = await open_store(
        url or f"sqlite://{directory / 'relay.db'}", holder=holder, lease=LEASE, clock=clock, key_file=directory / "key"
    )
    courier: Courier | None = None
    core: Core | None = None
    running: list[asyncio.Task[None]] = []
    try:
        if store.is_new:
            await store.directory.add_tenant(Tenant(ACME, "Acme", None, clock.now()))
        courier = Courier(Pool(Connector(ehlo_name="relay.test", timeouts=timeouts), clock), store.contents, clock)
        core = _assemble(
            store.queue, store.directory, store, courier, clock, active, max_concurrent, retry, settings, max_messages
        )
        store.on_ready(core.dispatcher.wake)
        store.on_open(core.dispatcher.reopen)
        store.on_health(core.dispatcher.hear_of_account)
        store.on_change(core.dispatcher.look_again)
        store.on_change(core.switch.look)
        await core.switch.start()
        await core.dispatcher.start()
        running = [asyncio.create_task(core.expiry.run()), asyncio.create_task(core.switch.run())]
        yield core
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if core is not None:
            await core.dispatcher.stop(1)
        if courier is not None:
            await courier.close()
        await store.close()


def _assemble(
    queue: MessageQueue,
    directory: Directory,
    store: Store,
    courier: Courier,
    clock: Clock,
    active: bool,
    max_concurrent: int,
    retry: RetryPolicy | None,
    settings: IntakeSettings | None,
    max_messages: int,
) -> Core:
    stream = LogStream()
    log, metrics = MailLog(clock, stream=stream), Metrics()
    leases = Leases(queue, clock, metrics, LEASE)
    attempter = Attempter(
        queue=queue,
        directory=directory,
        courier=courier,
        leases=leases,
        retry=retry or RetryPolicy(),
        clock=clock,
        metrics=metrics,
    )
    settler = Settler(queue, leases, clock, log, metrics)
    admission = Admission(clock, metrics, max_messages=max_messages)
    expiry = Expiry(queue, attempter, settler, clock, on_done=lambda: admission.count(-1))
    dispatcher = Dispatcher(
        queue=queue,
        attempter=attempter,
        leases=leases,
        settler=settler,
        clock=clock,
        max_concurrent=max_concurrent,
        active=active,
        on_open=admission.count,
        on_expiry=expiry.note,
    )
    intake = Intake(
        queue=queue,
        contents=store.contents,
        directory=directory,
        suppressions=store.suppressions,
        handover=dispatcher,
        admission=admission,
        clock=clock,
        log=log,
        metrics=metrics,
        settings=settings or IntakeSettings("relay.test"),
    )
    explainer = Explainer(store.archive, queue, directory, dispatcher, clock)
    switch = Switch(directory, dispatcher, clock, may_dispatch=active)
    return Core(
        clock, store, intake, dispatcher, attempter, explainer, switch, leases, expiry, admission, stream, metrics
    )
