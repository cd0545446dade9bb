"""The whole relay, on both stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import new_database
from tests.support.relay_process import RelayProcess, relay_directory


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def relay(request: pytest.FixtureRequest) -> Iterator[RelayProcess]:
    """A relay that is configured but not started."""
    with relay_directory() as directory:
        url = f"sqlite://{directory}/data/stagepost.db" if request.param == "sqlite" else new_database()
        with RelayProcess(directory, url) as process:
            yield process
