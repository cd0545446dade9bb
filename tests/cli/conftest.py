"""An instance to give commands to: once with a running relay, once with none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from relay.cli.main import root
from tests.support.relay_process import RelayProcess, relay_directory


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str
    raw: bytes

    @property
    def json(self) -> Any:
        """What it printed, parsed; the command must have succeeded."""
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Instance:
    """A configuration to run commands on."""

    relay: RelayProcess

    def run(self, *arguments: str, stdin: str | bytes = "") -> Done:
        """A command in this process."""
        done = CliRunner().invoke(root, [*arguments, "--config", str(self.relay.config)], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr, done.stdout_bytes)

    def json(self, *arguments: str, stdin: str | bytes = "") -> Any:
        """The same with --json, parsed."""
        return self.run(*arguments, "--json", stdin=stdin).json


@pytest.fixture(scope="module", params=["running", "not running"])
def instance(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """Shared by a module's tests: each makes what it needs under names of its own."""
    with relay_directory() as directory, RelayProcess(directory, f"sqlite://{directory}/data/mail.db") as relay:
        if request.param == "running":
            relay.start()
            yield Instance(relay)
            assert relay.stop() == 0, relay.log
        else:
            relay.write_config()
            yield Instance(relay)
