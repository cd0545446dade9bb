"""kill -9, round after round, under load: how many messages that were promised are lost, and how many come twice.

The rounds are those of the acceptance tests (tests.support.kill_rounds): one instance that is killed whole; or several on
one PostgreSQL, one of which is killed at a time; or on SQLite, where a store has one instance, several workers of it.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import report
from bench.processes import end_on_sigterm
from bench.relays import STORAGES, default_work_directory
from tests.support import postgres
from tests.support.kill_rounds import Instances, OneInstance, Site, Workers, given_seed, kill_rounds
from tests.support.relay_process import RelayProcess, beside, relay_directory

SAID = 2000
"""Characters of a relay's log that tell why it did not start."""


def main() -> int:
    """Measure as the command line asks."""
    options = _parse()
    end_on_sigterm()
    try:
        document = report.frame("kills", options, "")
        with _site(options) as site:
            document["result"] = asyncio.run(_measure(site, options))
    except (AssertionError, OSError, RuntimeError) as error:
        print(f"error: {str(error).strip()[-SAID:]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document if options.json else document["result"], indent=2))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=1, help="instances, or workers on SQLite")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="else STAGEPOST_TEST_SEED, else the tests' own")
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    parser.add_argument("--work-dir", type=Path, default=default_work_directory(), help="named in the report alone")
    parser.add_argument("--json", action="store_true", help="print the whole report as one JSON document")
    return parser.parse_args()


async def _measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    seed = options.seed or given_seed(sys.stderr)
    outcome = await kill_rounds(site, options.rounds, seed)
    return {"what": site.name, "storage": options.storage, "seed": seed, **outcome.figures()}


@contextmanager
def _site(options: argparse.Namespace) -> Iterator[Site]:
    """What runs, on a store of its own."""
    with ExitStack() as stack:
        directory = stack.enter_context(relay_directory())
        on_sqlite = options.storage == "sqlite"
        url = f"sqlite://{directory}/data/stagepost.db" if on_sqlite else postgres.new_database()
        relay = stack.enter_context(RelayProcess(directory, url))
        if options.count == 1:
            yield OneInstance(relay)
        elif on_sqlite:
            yield Workers(relay, options.count)
        else:
            relay.make_key()
            yield Instances([relay, *(stack.enter_context(beside(relay)) for _ in range(options.count - 1))])


if __name__ == "__main__":
    sys.exit(main())
