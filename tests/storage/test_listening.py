"""Listening: nobody is notified while nobody else listens, and nothing is missed by who begins to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from storage import Store
from storage.listening import CHANNEL
from tests.storage.conftest import Open, furnish
from tests.storage.mail import QUEUE, mail
from tests.storage.test_instances import until

pytestmark = pytest.mark.postgres


@pytest.fixture
def backend() -> str:
    return "postgres"


@pytest.fixture
async def words(url: str) -> AsyncIterator[list[str]]:
    """What goes over the channel, heard by somebody who has no share in the lock."""
    told: list[str] = []
    connection = await asyncpg.connect(url)
    await connection.add_listener(CHANNEL, lambda *args: told.append(str(args[-1]).partition(" ")[2]))
    yield told
    await connection.close()


def listening(store: Store) -> Any:
    database: Any = store._database
    return database._listening


async def heard_so_far(words: list[str], store: Store) -> list[str]:
    """The words that were said before this."""
    async with using(store) as connection:
        await connection.execute(f"SELECT pg_notify('{CHANNEL}', 'test mark')")
    await until(lambda: "mark" in words)
    words.remove("mark")
    return words


def using(store: Store) -> Any:
    database: Any = store._database
    return database._connections.use()


async def test_who_is_alone_notifies_nobody(opened: Open, words: list[str]) -> None:
    one = await opened(holder="one")
    await furnish(one)
    assert listening(one).is_alone
    await heard_so_far(words, one)  # what was said before it was alone may be on its way
    words.clear()
    for _ in range(5):
        await one.queue.accept(mail())
    assert not await heard_so_far(words, one)


async def test_a_newcomer_misses_nothing(opened: Open) -> None:
    """Each message is in the store before it looks, or it is told of it."""
    one = await opened(holder="one")
    await furnish(one)
    queues = [f"acme/main-{at}/acme" for at in range(300)]
    told: set[str] = set()
    accepting = [asyncio.ensure_future(one.queue.accept(mail(queue=queue))) for queue in queues[:100]]
    two = await opened(holder="two", hears=False)
    two.on_ready(lambda queue_key, _: told.add(queue_key))
    for queue in queues[100:]:
        accepting.append(asyncio.ensure_future(one.queue.accept(mail(queue=queue))))
        await asyncio.sleep(0)
    await asyncio.gather(*accepting)
    await until(lambda: told == set(queues))
    assert not listening(one).is_alone
    assert not listening(two).is_alone


async def test_who_was_alone_and_could_not_be_heard_has_the_others_look_again(opened: Open) -> None:
    one = await opened(holder="one")
    await furnish(one)
    told: list[str] = []
    two = await opened(holder="two")
    two.on_ready(lambda queue_key, _: told.append(queue_key))
    listening(
        one
    )._was_alone = True  # as if two had come while the server, but not yet one, knew that its connection was gone
    listening(one).is_alone = True
    await one.queue.accept(mail())
    async with using(two) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND query LIKE '%advisory%' ORDER BY backend_start LIMIT 1"
        )
    await until(lambda: QUEUE in told)
