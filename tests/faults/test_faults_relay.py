"""The relay itself: it must cut PostgreSQL's connections where the fault tests want them cut."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tests.faults.relay import Relay, When
from tests.postgres.databases import drop_database, execute, fresh_database


@pytest.fixture
def database() -> Iterator[str]:
    url = fresh_database()
    execute(url, "CREATE TABLE things (id int)")
    yield url
    drop_database(url)


@pytest.fixture
async def relay(database: str) -> AsyncIterator[tuple[Relay, str]]:
    host = database.split("@")[-1].split("/")[0]
    relay = Relay(host)
    async with relay.listening() as address:
        yield relay, database.replace(host, address)


@pytest.mark.parametrize(("when", "there"), [(When.BEFORE, 0), (When.AFTER, 1)])
async def test_a_connection_is_cut_in_its_commit(
    database: str, relay: tuple[Relay, str], when: When, there: int
) -> None:
    cutting, through = relay
    connection = await asyncpg.connect(through)
    await connection.execute("INSERT INTO things VALUES (0)")  # which says no COMMIT
    cutting.cut_commits(when, 1)
    with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        async with connection.transaction():
            await connection.execute("INSERT INTO things VALUES ($1)", 1)
    assert cutting.cuts == 1
    again = await asyncpg.connect(through)
    async with again.transaction():  # the next one is left alone
        await again.execute("INSERT INTO things VALUES (2)")
    await again.close()
    rows = await asyncio.to_thread(execute, database, "SELECT count(*) FROM things WHERE id = 1")
    assert rows[0][0] == there


async def test_a_relay_that_has_fallen_silent_says_nothing_to_new_callers_until_it_speaks(
    relay: tuple[Relay, str],
) -> None:
    silent, through = relay
    connection = await asyncpg.connect(through)
    silent.fall_silent()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(through, timeout=0.2)
    silent.speak()
    other = await asyncpg.connect(through)
    assert await other.fetchval("SELECT 1") == 1
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.2)
    connection.terminate()
    await other.close()
