"""Serving: the life of `stagepost serve` in one process; `relay.crew` is its life in several.

Start: lock, sockets, store, API, dispatch, doors, READY. Stop: doors (421 and 503), dispatch (attempts may end within the
deadline, leases are returned), API, store.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay import __version__
from relay.app import API_GRACE, Relay
from relay.bootstrap import Banner, make_admin_token, make_default_tenant
from relay.clock import SECOND, SystemClock
from relay.config import Config, Endpoint
from relay.configured import open_configured
from relay.errors import ConfigError
from relay.ingress.listener import Listener, bind
from relay.instance import instance_lock, pid_file, prepare_data_dir
from relay.maillog import LogFormat
from relay.model.instance import Door
from relay.service import Overseer, ServiceManager
from relay.techlog import set_up_logging
from sidecar_api.site import Patience, start_site
from storage import Store


@dataclass(frozen=True, slots=True)
class Doors:
    """Bound sockets; `control` is the path of one that is bound when the doors are opened, None where it is among `api`."""

    smtp: Sequence[Listener]
    api: Sequence[socket.socket]
    control: Path | None


async def serve(config: Config) -> int:
    """Run the relay until SIGTERM or SIGINT; answers the exit code."""
    with bound_doors(config) as doors:
        store = await open_configured(config)
        try:
            admin_token = await furnish(store)
            manager = ServiceManager()

            def say_ready() -> None:
                print_banner(config, doors, admin_token)
                manager.ready()

            await run(Relay(config, store), doors, manager, (signal.SIGTERM, signal.SIGINT), say_ready)
        finally:
            await store.close()
    return 0


@contextlib.contextmanager
def bound_doors(config: Config) -> Iterator[Doors]:
    """The instance's lock, and its sockets."""
    set_up_logging(LogFormat(config.server.log_format), config.server.log_level)
    prepare_data_dir(config.server.data_dir, config.api_socket)
    data_dir = config.server.data_dir
    with instance_lock(data_dir), pid_file(data_dir), contextlib.ExitStack() as sockets:
        smtp = [Listener(sock) for sock in _bind_all(sockets, "smtp", "listen", config.smtp.listen)]
        smtp += [Listener(sock, True) for sock in _bind_all(sockets, "smtp", "tls_listen", config.smtp.tls_listen)]
        yield Doors(smtp, _bind_all(sockets, "api", "listen", config.api.listen), config.api_socket)


async def furnish(store: Store) -> str | None:
    """Give an empty store what it needs; the secret of the admin token, where one was made."""
    if store.is_new:
        await make_default_tenant(store.directory, SystemClock())
    return await make_admin_token(store.directory, SystemClock())


async def run(
    relay: Relay,
    doors: Doors,
    overseer: Overseer,
    stop_signals: Sequence[signal.Signals],
    ready: Callable[[], None],
    stop: asyncio.Event | None = None,
) -> None:
    """From the start of a process's parts to their stop, by a signal or by `stop`."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    life = loop.create_task(_show_life(overseer))
    for number in stop_signals:
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, relay.certificates.reload)
    api = relay.config.api
    site = await start_site(
        relay.api(),
        sockets=doors.api,
        unix_path=doors.control,
        tls=relay.certificates.context(api.certificate, api.private_key),
        patience=Patience(request=api.request_timeout / SECOND),
        max_connections=relay.places.api,
        shutdown_timeout=API_GRACE,
    )
    relay.doors = tuple(_shown(relay.config, doors))
    await relay.start(doors.smtp)
    ready()
    await stop.wait()
    overseer.stopping()
    for number in stop_signals:
        loop.remove_signal_handler(number)  # a second one ends the process: what is committed stays
    await relay.stop()
    await site.stop()
    life.cancel()


def print_banner(config: Config, doors: Doors, admin_token: str | None) -> None:
    """For the person who started it."""
    scheme = "https" if config.api.certificate else "http"
    banner = Banner(
        version=__version__,
        smtp=[_address(listener.sock) for listener in doors.smtp],
        api=[f"{scheme}://{_address(sock)}" for sock in doors.api if sock.family != socket.AF_UNIX],
        store=config.storage.url.masked,
        loopback_tenant=config.smtp.loopback_tenant,
        admin_token=admin_token,
    )
    print(banner, flush=True)


def _shown(config: Config, doors: Doors) -> Iterator[Door]:
    """The doors that are open to the network."""
    for listener in doors.smtp:
        tls = "implicit" if listener.implicit_tls else "starttls" if config.smtp.certificate else "none"
        yield Door("smtp", _address(listener.sock), tls)
    for sock in doors.api:
        if sock.family != socket.AF_UNIX:
            yield Door("api", _address(sock), "implicit" if config.api.certificate else "none")


async def _show_life(overseer: Overseer) -> None:
    """Tell the overseer that the event loop turns."""
    while overseer.interval is not None:
        overseer.alive()
        await asyncio.sleep(overseer.interval)


def _bind_all(
    stack: contextlib.ExitStack, section: str, key: str, endpoints: Sequence[Endpoint]
) -> list[socket.socket]:
    found = []
    for endpoint in endpoints:
        try:
            found += [stack.enter_context(sock) for sock in bind(endpoint.host, endpoint.port)]
        except OSError as error:
            raise ConfigError(f"[{section}] {key}: cannot listen on {endpoint}: {error.strerror or error}") from error
    return found


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return str(Endpoint(host, port))
