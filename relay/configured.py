"""Configured: what the configuration says, as the parts take it: the store, the places, and the settings of each part."""

from __future__ import annotations

import logging
from pathlib import Path

from relay.clock import SECOND, SystemClock
from relay.config import Config
from relay.delivery.timeouts import Timeouts
from relay.dispatch.retry import RetryPolicy
from relay.ingress.settings import AuthWithoutTls, BareNewlines, DoorSettings
from relay.instance import holder_name
from relay.machine import MEMORY_SHARE, Places, memory_limit, raise_descriptor_limit, share_out
from relay.workers.worker import Worker
from storage import Store, Terms, open_store

log = logging.getLogger(__name__)


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


def share_descriptors(config: Config, worker: Worker | None) -> Places:
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


def memory_mark(config: Config) -> int:
    """Octets of memory from which on the doors of a process refuse mail."""
    return (config.server.max_memory or int(memory_limit() * MEMORY_SHARE)) // config.server.workers


def written_paths(config: Config) -> tuple[Path, ...]:
    """The directories whose disks may fill up."""
    paths = [config.server.data_dir]
    if config.storage.sqlite_file is not None:
        paths += [config.storage.sqlite_file.parent]
    paths += [config.storage.spool] if config.storage.spool else []
    return tuple(dict.fromkeys(path for path in paths if path.exists()))


def retention_terms(config: Config) -> Terms:
    """How long the store keeps what has ended."""
    kept = config.retention
    return Terms(kept.content, kept.failed_content, kept.messages, kept.events)


def delivery_timeouts(config: Config) -> Timeouts:
    """How long each step of an attempt may take."""
    delivery = config.delivery
    return Timeouts(
        connect=delivery.connect_timeout / SECOND,
        greeting=delivery.command_timeout / SECOND,
        mail=delivery.command_timeout / SECOND,
        rcpt=delivery.command_timeout / SECOND,
        data=delivery.data_timeout / SECOND,
        body=delivery.body_timeout / SECOND,
        dot=delivery.dot_timeout / SECOND,
    )


def retry_policy(config: Config) -> RetryPolicy:
    """When what was deferred is tried again."""
    retry = config.retry
    return RetryPolicy(
        schedule=retry.schedule,
        max_age=retry.max_age,
        jitter=retry.jitter,
        max_attempts=retry.max_attempts,
        hint_min=retry.hint_min,
        hint_max=retry.hint_max,
        max_wait=retry.max_wait,
    )


def door_settings(config: Config, max_connections: int) -> DoorSettings:
    """Of the SMTP door."""
    smtp = config.smtp
    return DoorSettings(
        hostname=config.hostname,
        auth_without_tls=AuthWithoutTls(smtp.auth_without_tls),
        bare_newlines=BareNewlines(smtp.bare_newlines),
        loopback_tenant=smtp.loopback_tenant or None,
        max_connections=max_connections,
        max_connections_per_client=smtp.max_connections_per_client,
        command_timeout=smtp.command_timeout / SECOND,
        session_timeout=smtp.session_timeout / SECOND,
        data_timeout=smtp.data_timeout / SECOND,
        min_data_rate=smtp.min_data_rate,
    )
