"""What callers of real servers are told, all at once and about the same few identifiers, has an order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.faults.load import KEY
from tests.faults.server import Server
from tests.histories.callers import Callers, Hot
from tests.histories.conftest import Report
from tests.histories.search import assert_linearizable
from tests.postgres.databases import drop_database, fresh_database

MOST = 10
"""Identifiers and tombstones of a profile; so few that some histories reach it."""
SETTINGS: Final = {"AKA_MAX_IDENTIFIERS_PER_PROFILE": str(MOST)}


SERVERS: Final = 3


@pytest.mark.timeout(3600)
async def test_every_history_of_one_server_over_a_file_has_an_order(
    tmp_path: Path, random: Random, report: Report, long: bool
) -> None:
    async with _over_a_file(tmp_path) as servers:
        report(f"one server over SQLite: {await _search(servers, random, 100_000 if long else 600)}")
        report(f"one server over SQLite, killed: {await _search_deaths(servers, random, 100 if long else 1)}")


@pytest.mark.timeout(3600)
async def test_every_history_of_three_servers_over_one_postgresql_has_an_order(
    tmp_path: Path, random: Random, report: Report, long: bool
) -> None:
    async with _over_postgres(tmp_path) as servers:
        report(f"three servers over PostgreSQL: {await _search(servers, random, 100_000 if long else 600)}")
        report(
            f"three servers over PostgreSQL, one killed: {await _search_deaths(servers, random, 100 if long else 1)}"
        )


@asynccontextmanager
async def _over_a_file(folder: Path) -> AsyncIterator[Sequence[Server]]:
    async with Server(folder, settings=SETTINGS) as server:
        yield [server]


@asynccontextmanager
async def _over_postgres(folder: Path) -> AsyncIterator[Sequence[Server]]:
    database = fresh_database()
    settings = SETTINGS | {"AKA_DATABASE_URL": database}
    folders = [folder / str(number) for number in range(SERVERS)]
    for each in folders:
        each.mkdir()
    servers = [Server(each, settings=settings) for each in folders]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield servers
    finally:
        for server in servers:
            await server.kill()
        drop_database(database)


async def _search(servers: Sequence[Server], random: Random, operations: int) -> str:
    """Search short histories, until there were so many operations."""
    histories = done = states = 0
    async with _callers(servers, random) as callers:
        while done < operations:
            hot = [Hot(f"h{histories}.{part}", random) for part in range(random.choice((1, 1, 3)))]
            history = await callers.history(hot, random.choice((60, 120, 240))) + await callers.look(hot)
            states += assert_linearizable(history, most=MOST)
            histories, done = histories + 1, done + len(history)
    await _check(servers)
    return f"{histories} histories of {done} calls, {states} states"


async def _search_deaths(servers: Sequence[Server], random: Random, deaths: int) -> str:
    """Search histories, in each of which one of the servers is killed and another takes its place."""
    done = states = unknown = 0
    for number in range(deaths):
        hot = [Hot(f"d{number}.{part}", random) for part in range(3)]  # of fewer, too much would be unknown
        victim = random.choice(servers)
        async with _callers(servers, random) as callers:
            calling = asyncio.create_task(callers.history(hot, 400))
            await asyncio.sleep(random.uniform(0.02, 0.15))
            await victim.kill()
            history = await calling
        unknown += sum(operation.answer is None for operation in history)
        await victim.start()
        async with _callers(servers, random) as callers:
            history += await callers.history(hot, 100) + await callers.look(hot)
        states += assert_linearizable(history, most=MOST)
        done += len(history)
    await _check(servers)
    assert unknown, "no call was under way when a server was killed"
    return f"{deaths} histories of {done} calls, {unknown} of them unknown, {states} states"


def _callers(servers: Sequence[Server], random: Random) -> Callers:
    return Callers([server.address for server in servers], KEY, random)


async def _check(servers: Sequence[Server]) -> None:
    """Fail where the database that the servers share is not sound, or any of them met a bug."""
    await servers[0].check()
    for server in servers:
        server.assert_no_bug_logged()
