"""The composition root: builds every part around an open store, starts and stops them in order.

Each part is given plain values; none but this module, `relay.configured`, those above (`relay.serving`, `relay.crew`,
`relay.local`) and the command line sees the configuration.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Mapping, Sequence

from prometheus_client import generate_latest

from relay import __version__
from relay.certificates import Certificates
from relay.chores import Chores
from relay.clock import SECOND
from relay.config import Config
from relay.configured import (
    delivery_timeouts,
    door_settings,
    memory_mark,
    retention_terms,
    retry_policy,
    share_descriptors,
    written_paths,
)
from relay.delivery.connection import Connector
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.probe import Probe
from relay.dispatch.attempt import Attempter
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.expiry import Expiry
from relay.dispatch.explain import Explainer
from relay.dispatch.leases import Leases
from relay.dispatch.settler import Settler
from relay.dispatch.switch import Switch
from relay.door_log import DoorLog
from relay.errors import NotFound, StoreUnavailable
from relay.ingress.listener import Listener, SmtpDoor
from relay.intake.accept import Intake, IntakeSettings
from relay.intake.admission import Admission
from relay.last_words import end_process
from relay.machine import free_space, give_back_memory, resident_memory
from relay.maillog import LogFormat, MailLog
from relay.metrics import Metrics
from relay.model.event import Event
from relay.model.instance import Door, Standing
from relay.model.tenant import Account
from relay.workers.team import Team
from relay.workers.worker import Worker
from sidecar_api.app import App
from sidecar_api.services import Services
from sidecar_api.streams import StreamTerms
from storage import Store

API_GRACE = 5.0
"""Seconds that requests under way have at a stop."""


class Relay:
    """Every part, built around an open store. `start` and `stop` are for a relay that runs; the command line uses the API of
    one that does not. `worker`: this process's part, where it is one of several."""

    def __init__(self, config: Config, store: Store, worker: Worker | None = None) -> None:
        self.config = config
        self.store = store
        self.worker = worker
        self.clock = store.clock
        self.metrics = Metrics()
        # Of what others write to the same pipe, only so much stays in one piece (pipe(7)).
        whole = None if worker is None else select.PIPE_BUF
        self.log = MailLog(self.clock, LogFormat(config.server.log_format), whole=whole)
        self.places = share_descriptors(config, worker)
        self.admission = self._build_admission()
        self.connector = Connector(
            ehlo_name=config.ehlo_name,
            outbound_networks=config.security.outbound_networks,
            timeouts=delivery_timeouts(config),
        )
        self.pool = Pool(self.connector, self.clock, connection_ttl=config.delivery.connection_ttl)
        self.leases = Leases(store.queue, self.clock, self.metrics, config.queue.lease)
        attempter = self._build_attempter()
        settler = Settler(store.queue, self.leases, self.clock, self.log, self.metrics)
        self.expiry = Expiry(store.queue, attempter, settler, self.clock, on_done=lambda: self.admission.count(-1))
        self.dispatcher = self._build_dispatcher(attempter, settler)
        may_dispatch = config.dispatch.active
        self.switch = Switch(store.directory, self.dispatcher, self.clock, may_dispatch=may_dispatch)
        self.intake = self._build_intake()
        self.chores = self._build_chores()
        self.certificates = Certificates()
        self.doors: tuple[Door, ...] = ()
        """Where it listens, once it does."""
        self._since: int | None = None
        self._begun = False
        """Mail can be handed in: its door is open, and what waits is sent."""
        self._door: SmtpDoor | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._team = None if worker is None else Team(worker, self.metrics, self.ill_parts, self.switch.follow)
        self._join()

    # -- building -----------------------------------------------------------------------------------------------------

    def _build_admission(self) -> Admission:
        config = self.config
        paths = written_paths(config)
        return Admission(
            self.clock,
            self.metrics,
            max_messages=config.queue.max_messages,
            free_space=lambda: min(map(free_space, paths)),
            min_free=config.storage.min_free,
            memory=resident_memory,
            max_memory=memory_mark(config),
            relieve=give_back_memory,
            store=self.store.ailment,
            depth=None if self.worker is None else self.worker.depth,
        )

    def _build_attempter(self) -> Attempter:
        return Attempter(
            queue=self.store.queue,
            directory=self.store.directory,
            courier=Courier(self.pool, self.store.contents, self.clock, self.config.replies.rules),
            leases=self.leases,
            retry=retry_policy(self.config),
            clock=self.clock,
            metrics=self.metrics,
        )

    def _build_dispatcher(self, attempter: Attempter, settler: Settler) -> Dispatcher:
        return Dispatcher(
            queue=self.store.queue,
            attempter=attempter,
            leases=self.leases,
            settler=settler,
            clock=self.clock,
            max_concurrent=self.places.attempts,
            active=False,
            on_open=self.admission.count,
            on_expiry=self.expiry.note,
            share=None if self.worker is None else self.worker.share.of,
            find_account=None if self.worker is None else self._find_account,
        )

    def _build_intake(self) -> Intake:
        smtp = self.config.smtp
        return Intake(
            queue=self.store.queue,
            contents=self.store.contents,
            directory=self.store.directory,
            suppressions=self.store.suppressions,
            handover=self.dispatcher,
            admission=self.admission,
            clock=self.clock,
            log=self.log,
            metrics=self.metrics,
            settings=IntakeSettings(self.config.hostname, smtp.header_prefix, smtp.max_size, smtp.max_recipients),
        )

    def _build_chores(self) -> Chores:
        return Chores(
            self.store,
            self.metrics,
            self.admission,
            self.dispatcher,
            self.switch,
            self.expiry,
            lease=self.config.queue.lease,
            kept=retention_terms(self.config),
            commands_kept=self.config.retention.commands,
            of_instance=self.worker is None or self.worker.is_first,
        )

    def _join(self) -> None:
        """Have the parts hear what the store tells, and the metrics see what they show."""
        self.store.on_held(self._tell_held)
        self.store.on_lost(lambda reason: end_process(reason, self.log))
        self.store.on_ready(self.dispatcher.wake)
        self.store.on_open(self.dispatcher.reopen)
        self.store.on_health(self.dispatcher.hear_of_account)
        self.store.on_change(self.dispatcher.look_again)
        self.store.on_change(self.switch.look)
        self.metrics.accounts_paused.set_function(lambda: self.dispatcher.paused_accounts)
        self.metrics.in_flight.set_function(lambda: self.dispatcher.in_flight)
        self.metrics.queue_depth.set_function(lambda: self.admission.depth)

    def _tell_held(self, events: Sequence[Event]) -> None:
        self.log.events(events)
        self.metrics.events(tuple(events))
        self.metrics.held_after_deaths.inc(len(events))

    async def _find_account(self, account_key: str) -> Account | None:
        owner, _, account = account_key.partition("/")
        try:
            return await self.store.directory.owned_account(owner, account)
        except NotFound:
            return None

    def api(self) -> App:
        """The REST door as an application, to be served on any socket."""
        services = Services(
            intake=self.intake,
            limits=self.store.limits,
            archive=self.store.archive,
            contents=self.store.contents,
            directory=self.store.directory,
            commands=self.store.commands,
            suspensions=self.store.suspensions,
            suppressions=self.store.suppressions,
            feed=self.store.feed,
            client_sides=self.store.client_sides,
            bounce_mailboxes=self.store.bounce_mailboxes,
            probe=Probe(self.connector),
            explainer=Explainer(
                self.store.archive, self.store.queue, self.store.directory, self.dispatcher, self.clock
            ),
            metrics=self.figures if self._team is None else self._team.figures,
            readiness=self.ill_parts if self._team is None else self._team.ill_parts,
            standing=self.standing,
            follow=self.switch.follow if self._team is None else self._team.follow,
            clock=self.clock,
            version=__version__,
            hostname=self.config.hostname,
            max_body=self.config.api.max_body,
            header_prefix=self.config.smtp.header_prefix,
            requests_per_minute=self.config.api.requests_per_minute,
            streams=StreamTerms(total=max(1, self.places.api // 2)),
            cors_origins=frozenset(self.config.api.cors_origins),
            genro_mail_proxy=self.config.api.genro_mail_proxy,
        )
        return App(services)

    # -- standing -----------------------------------------------------------------------------------------------------

    async def figures(self) -> bytes:
        """The metrics of this process, as Prometheus reads them."""
        return generate_latest(self.metrics.registry)

    async def ill_parts(self) -> Mapping[str, str]:
        """What keeps this process from being ready."""
        ill = {str(part): why for part, why in self.admission.ill_parts().items()}
        try:
            await self.store.ready()
        except StoreUnavailable as error:
            ill["store"] = str(error)
        if self.admission.stopping:
            ill["instance"] = "shutting down"
        elif not self._begun:
            ill["instance"] = "not started"
        return ill

    def standing(self) -> Standing:
        """How this process stands."""
        config = self.config
        store = "postgresql" if config.storage.sqlite_file is None else "sqlite"
        return Standing(self._since, store, config.server.workers, self.doors, self.dispatcher.active)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, smtp: Sequence[Listener]) -> None:
        """Begin to send, and open the SMTP door."""
        if self.worker is None:  # else the parent has counted
            await self.chores.count()
        self._since = self.clock.now() if self.worker is None else self.worker.since
        await self.switch.start()
        await self.dispatcher.start()
        recovery, cleaning = self.chores.janitors()
        chores = (recovery.run(), cleaning.run(), self.chores.finish_resumptions())
        work = (self.leases.run(), self.expiry.run(), self.switch.run(), *chores)
        self._tasks = [asyncio.create_task(one) for one in work]
        if self._team is not None:
            await self._team.start()
        if smtp:
            await self._open_door(smtp)
        self._begun = True

    async def _open_door(self, listeners: Sequence[Listener]) -> None:
        smtp = self.config.smtp
        tls = self.certificates.context(smtp.certificate, smtp.private_key)
        settings = door_settings(self.config, self.places.smtp)
        observer = DoorLog(self.log, self.metrics, self.clock)
        self._door = SmtpDoor(
            self.intake,
            self.store.directory,
            settings,
            self.clock,
            tls=tls,
            observer=observer,
            count=None if self.worker is None else self.worker.connections,
        )
        await self._door.start(listeners)

    async def stop(self) -> None:
        """Let what is under way end within the deadline; every lease is settled or returned."""
        deadline = self.config.server.shutdown_timeout / SECOND
        self.admission.stopping = True
        if self._door is not None:
            await self._door.stop(deadline / 2)
        await self.dispatcher.stop(deadline / 2)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pool.close()
        if self._team is not None:
            await self._team.stop()
