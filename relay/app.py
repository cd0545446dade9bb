"""The composition root: builds every part around an open store, starts and stops them in order.

Each part is given plain values; none but this module, those above it (`relay.serving`, `relay.local`) and the command line
sees the configuration.
"""

from __future__ import annotations

import asyncio
import logging
import select
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import generate_latest

from relay import __version__
from relay.clock import HOUR, MINUTE, SECOND, SystemClock
from relay.config import Config
from relay.delivery.connection import Connector
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.probe import Probe
from relay.delivery.timeouts import Timeouts
from relay.dispatch.attempt import Attempter
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.expiry import Expiry
from relay.dispatch.explain import Explainer
from relay.dispatch.janitor import Chore, Janitor
from relay.dispatch.leases import Leases
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.settler import Settler
from relay.dispatch.switch import Switch
from relay.door_log import DoorLog
from relay.errors import NotFound, StoreUnavailable
from relay.ingress.listener import Listener, SmtpDoor, server_tls
from relay.ingress.settings import AuthWithoutTls, BareNewlines, DoorSettings
from relay.instance import holder_name
from relay.intake.accept import Intake, IntakeSettings
from relay.intake.admission import Admission
from relay.last_words import end_process
from relay.machine import (
    MEMORY_SHARE,
    Places,
    free_space,
    give_back_memory,
    memory_limit,
    raise_descriptor_limit,
    resident_memory,
    share_out,
)
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
from storage import Store, Terms, open_store

log = logging.getLogger(__name__)

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
        self.places = _share_descriptors(config, worker)
        self.admission = self._build_admission()
        self.pool = self._build_pool()
        self.leases = Leases(store.queue, self.clock, self.metrics, config.queue.lease)
        attempter = self._build_attempter()
        settler = Settler(store.queue, self.leases, self.clock, self.log, self.metrics)
        self.expiry = Expiry(store.queue, attempter, settler, self.clock, on_done=lambda: self.admission.count(-1))
        self.dispatcher = self._build_dispatcher(attempter, settler)
        may_dispatch = config.dispatch.active
        self.switch = Switch(store.directory, self.dispatcher, self.clock, may_dispatch=may_dispatch)
        self.intake = self._build_intake()
        kept = config.retention
        self.retention = store.retention(Terms(kept.content, kept.failed_content, kept.messages, kept.events))
        self.doors: tuple[Door, ...] = ()
        """Where it listens, once it does."""
        self._since: int | None = None
        self._begun = False
        """Mail can be handed in: its door is open, and what waits is sent."""
        self._door: SmtpDoor | None = None
        self._certificates: list[tuple[ssl.SSLContext, Path, Path]] = []
        self._tasks: list[asyncio.Task[None]] = []
        store.on_held(self._tell_held)
        store.on_lost(lambda reason: end_process(reason, self.log))
        self._team = None if worker is None else Team(worker, self.metrics, self.ill_parts, self.switch.follow)
        store.on_ready(self.dispatcher.wake)
        store.on_open(self.dispatcher.reopen)
        store.on_health(self.dispatcher.hear_of_account)
        store.on_change(self.dispatcher.look_again)
        store.on_change(self.switch.look)
        self.metrics.accounts_paused.set_function(lambda: self.dispatcher.paused_accounts)
        self.metrics.in_flight.set_function(lambda: self.dispatcher.in_flight)
        self.metrics.queue_depth.set_function(lambda: self.admission.depth)

    # -- building -----------------------------------------------------------------------------------------------------

    def _build_admission(self) -> Admission:
        config = self.config
        paths = [config.server.data_dir]
        if config.storage.sqlite_file is not None:
            paths += [config.storage.sqlite_file.parent]
        paths += [config.storage.spool] if config.storage.spool else []
        existing = tuple(dict.fromkeys(path for path in paths if path.exists()))
        return Admission(
            self.clock,
            self.metrics,
            max_messages=config.queue.max_messages,
            free_space=lambda: min(map(free_space, existing)),
            min_free=config.storage.min_free,
            memory=resident_memory,
            max_memory=(config.server.max_memory or int(memory_limit() * MEMORY_SHARE)) // config.server.workers,
            relieve=give_back_memory,
            store=self.store.ailment,
            depth=None if self.worker is None else self.worker.depth,
        )

    def _build_pool(self) -> Pool:
        delivery = self.config.delivery
        timeouts = Timeouts(
            connect=delivery.connect_timeout / SECOND,
            greeting=delivery.command_timeout / SECOND,
            mail=delivery.command_timeout / SECOND,
            rcpt=delivery.command_timeout / SECOND,
            data=delivery.data_timeout / SECOND,
            body=delivery.body_timeout / SECOND,
            dot=delivery.dot_timeout / SECOND,
        )
        self.connector = Connector(
            ehlo_name=self.config.ehlo_name,
            outbound_networks=self.config.security.outbound_networks,
            timeouts=timeouts,
        )
        return Pool(self.connector, self.clock, connection_ttl=delivery.connection_ttl)

    def _build_attempter(self) -> Attempter:
        retry = self.config.retry
        return Attempter(
            queue=self.store.queue,
            directory=self.store.directory,
            courier=Courier(self.pool, self.store.contents, self.clock, self.config.replies.rules),
            leases=self.leases,
            retry=RetryPolicy(
                schedule=retry.schedule,
                max_age=retry.max_age,
                jitter=retry.jitter,
                max_attempts=retry.max_attempts,
                hint_min=retry.hint_min,
                hint_max=retry.hint_max,
                max_wait=retry.max_wait,
            ),
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

    async def figures(self) -> bytes:
        """The metrics of this process, as Prometheus reads them."""
        return generate_latest(self.metrics.registry)

    async def _find_account(self, account_key: str) -> Account | None:
        owner, _, account = account_key.partition("/")
        try:
            return await self.store.directory.owned_account(owner, account)
        except NotFound:
            return None

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
            await self._count()
        self._since = self.clock.now() if self.worker is None else self.worker.since
        await self.switch.start()
        await self.dispatcher.start()
        recovery, cleaning = self._janitors()
        chores = (recovery.run(), cleaning.run(), self._finish_resumptions())
        work = (self.leases.run(), self.expiry.run(), self.switch.run(), *chores)
        self._tasks = [asyncio.create_task(one) for one in work]
        if self._team is not None:
            await self._team.start()
        if smtp:
            await self._open_door(smtp)
        self._begun = True

    def _janitors(self) -> tuple[Janitor, Janitor]:
        """For what must be in time, and for what takes its time. One of several processes does the instance's chores."""
        lease = self.config.queue.lease
        own = (
            Chore("look at all queues", lease // 2, self._look_again),
            Chore("expiry behind paused accounts", MINUTE, self._expire_behind_paused),
            Chore("last uses of tokens", MINUTE, self.store.note_uses),
        )
        if self.worker is not None and not self.worker.is_first:
            return Janitor(self.clock, own), Janitor(self.clock, ())
        recovery = (
            Chore("recovery of dead leases", lease // 2, self._recover),
            Chore("count of the queue", 10 * MINUTE, self._count),
            Chore("what resumptions have left", 5 * MINUTE, self.store.suspensions.finish),
            *own,
        )
        cleaning = (
            Chore("retention", 10 * MINUTE, self._remove_old),
            Chore("removal of orphaned content", HOUR, self.store.sweep),
            Chore("removal of old sends from the limits' log", HOUR, self.store.prune),
        )
        return Janitor(self.clock, recovery), Janitor(self.clock, cleaning)

    async def _open_door(self, listeners: Sequence[Listener]) -> None:
        smtp = self.config.smtp
        tls = self.tls(smtp.certificate, smtp.private_key)
        settings = DoorSettings(
            hostname=self.config.hostname,
            auth_without_tls=AuthWithoutTls(smtp.auth_without_tls),
            bare_newlines=BareNewlines(smtp.bare_newlines),
            loopback_tenant=smtp.loopback_tenant or None,
            max_connections=self.places.smtp,
            max_connections_per_client=smtp.max_connections_per_client,
            command_timeout=smtp.command_timeout / SECOND,
            session_timeout=smtp.session_timeout / SECOND,
            data_timeout=smtp.data_timeout / SECOND,
            min_data_rate=smtp.min_data_rate,
        )
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

    def tls(self, certificate: Path | None, private_key: Path | None) -> ssl.SSLContext | None:
        """The context of a door, or None where it has no certificate; `reload_certificates` renews it."""
        if certificate is None or private_key is None:
            return None
        context = server_tls(str(certificate), str(private_key))
        self._certificates.append((context, certificate, private_key))
        return context

    def reload_certificates(self) -> None:
        """Renewed certificates, without a restart; connections that stand keep the old ones."""
        for context, certificate, private_key in self._certificates:
            try:
                context.load_cert_chain(str(certificate), str(private_key))
            except (OSError, ssl.SSLError) as error:
                log.error("certificate %s not loaded anew, the old one stays: %s", certificate, error)

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

    async def _recover(self) -> None:
        await self.store.set_clock()
        if found := await self.store.queue.recover():
            self.metrics.recovered.inc(found)
            log.warning("%d deliveries taken back from leases that had run out", found)

    async def _finish_resumptions(self) -> None:
        try:
            await self.store.suspensions.finish()
        except StoreUnavailable as error:
            log.warning("what resumptions have left is looked for later: %s", error)

    async def _look_again(self) -> None:
        await self.switch.follow()
        await self.dispatcher.refresh()
        self.expiry.look_again()

    async def _expire_behind_paused(self) -> None:
        await self.expiry.expire_behind(self.dispatcher.paused)

    def _tell_held(self, events: Sequence[Event]) -> None:
        self.log.events(events)
        self.metrics.events(tuple(events))
        self.metrics.held_after_deaths.inc(len(events))

    async def _remove_old(self) -> None:
        if (term := self.config.retention.commands) is not None:
            await self.store.commands.remove_before(self.clock.now() - term)
        removed = await self.retention.run()
        for part, count in (("content", removed.contents), ("messages", removed.messages), ("events", removed.events)):
            self.metrics.retention_removed.labels(part).inc(count)
        if removed.contents or removed.messages or removed.events:
            log.info(
                "removed what was kept long enough: content of %d messages, %d messages, %d events",
                removed.contents,
                removed.messages,
                removed.events,
            )

    async def _count(self) -> None:
        self.admission.depth = await self.store.queue.open_deliveries()


async def open_configured(config: Config, worker: Worker | None = None, *, is_parent: bool = False) -> Store:
    """The store that the configuration names, for the instance in its data directory, a worker of it, or their parent."""
    instance = holder_name(config.server.data_dir)
    return await open_store(
        str(config.storage.url),
        holder=instance if worker is None else worker.holder(instance),
        former=instance if worker is None else worker.former(instance),
        peers=None if worker is None else worker.wakes,
        is_parent=is_parent,
        lease=config.queue.lease,
        clock=SystemClock(),
        key_file=config.security.key_file,
        spool=config.storage.spool,
        inline_limit=config.storage.inline_limit,
    )


def _share_descriptors(config: Config, worker: Worker | None) -> Places:
    """How many connections there may be of each kind in this process, by what is configured and what the system allows. All
    SMTP connections may be one worker's: the door counts them over all; the others are divided."""
    api, attempts = config.api.max_connections, config.delivery.max_concurrent
    if worker is not None:
        api, attempts = worker.share.of(api, "api"), worker.share.of(attempts)
    wanted = Places(config.smtp.max_connections, api, attempts)
    descriptors = raise_descriptor_limit()
    places = share_out(descriptors, wanted)
    if places != wanted:
        log.warning(
            "%d file descriptors allow %d SMTP and %d API connections and %d attempts: raise LimitNOFILE (ulimit -n)",
            descriptors,
            places.smtp,
            places.api,
            places.attempts,
        )
    return places
