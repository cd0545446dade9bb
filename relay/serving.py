"""Serving: the life of `stagepost serve`.

Start: lock, sockets, store, API, dispatch, doors, READY. Stop: doors (421 and 503), dispatch (attempts may end within the
deadline, leases are returned), API, store.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence

from relay import __version__
from relay.app import API_GRACE, Relay, open_configured
from relay.bootstrap import Banner, make_admin_token, make_default_tenant
from relay.clock import SECOND, SystemClock
from relay.config import Config, Endpoint
from relay.errors import ConfigError
from relay.ingress.listener import Listener, bind
from relay.instance import instance_lock, prepare_data_dir
from relay.maillog import LogFormat
from relay.service import READY, STOPPING, notify
from relay.techlog import set_up_logging
from sidecar_api.site import Patience, start_site
from storage import Store


async def serve(config: Config) -> int:
    """Run the relay until SIGTERM or SIGINT; answers the exit code."""
    set_up_logging(LogFormat(config.server.log_format), config.server.log_level)
    prepare_data_dir(config.server.data_dir, config.api_socket)
    with instance_lock(config.server.data_dir), contextlib.ExitStack() as sockets:
        smtp = [Listener(sock) for sock in _bind_all(sockets, "smtp", "listen", config.smtp.listen)]
        smtp += [Listener(sock, True) for sock in _bind_all(sockets, "smtp", "tls_listen", config.smtp.tls_listen)]
        api = _bind_all(sockets, "api", "listen", config.api.listen)
        store = await open_configured(config)
        try:
            await _run(config, store, smtp, api)
        finally:
            await store.close()
    return 0


async def _run(config: Config, store: Store, smtp: Sequence[Listener], api: Sequence[socket.socket]) -> None:
    if store.is_new:
        await make_default_tenant(store.directory, SystemClock())
    admin_token = await make_admin_token(store.directory, SystemClock())
    relay = Relay(config, store)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, relay.reload_certificates)
    tls = relay.tls(config.api.certificate, config.api.private_key)
    site = await start_site(
        relay.api(),
        sockets=api,
        unix_path=config.api_socket,
        tls=tls,
        patience=Patience(request=config.api.request_timeout / SECOND),
        max_connections=relay.places.api,
        shutdown_timeout=API_GRACE,
    )
    await relay.start(smtp)
    banner = Banner(
        version=__version__,
        smtp=[_address(listener.sock) for listener in smtp],
        api=[f"{'http' if tls is None else 'https'}://{_address(sock)}" for sock in api],
        store=config.storage.url.masked,
        loopback_tenant=config.smtp.loopback_tenant,
        admin_token=admin_token,
    )
    print(banner, flush=True)  # for the person who started it
    notify(f"{READY}\nSTATUS=Accepting mail")
    await stop.wait()
    notify(f"{STOPPING}\nSTATUS=Finishing what is under way")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)  # a second one ends the process: what is committed stays
    await relay.stop()
    await site.stop()


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
