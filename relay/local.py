"""The local API: how a command reaches the instance in its data directory, whether a relay runs there or not."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from relay.app import API_GRACE, Relay
from relay.bootstrap import make_default_tenant
from relay.clock import SystemClock
from relay.config import Config
from relay.configured import open_configured
from relay.instance import instance_lock, is_listening, prepare_data_dir
from sidecar_api.site import start_site


@contextlib.asynccontextmanager
async def local_api(config: Config) -> AsyncIterator[Path]:
    """The socket on which the API answers: a running relay's, else one of this process, which opens the store meanwhile."""
    if is_listening(config.api_socket):
        yield config.api_socket
        return
    prepare_data_dir(config.server.data_dir, config.api_socket)
    with instance_lock(config.server.data_dir), tempfile.TemporaryDirectory(prefix="stagepost-") as directory:
        store = await open_configured(config)
        try:
            if store.is_new:
                await make_default_tenant(store.directory, SystemClock())
            relay = Relay(config, store)
            path = Path(directory) / "api.sock"
            site = await start_site(relay.api(), unix_path=path, shutdown_timeout=API_GRACE)
            try:
                yield path
            finally:
                await site.stop()
                await relay.pool.close()
        finally:
            await store.close()
