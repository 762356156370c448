"""What callers of real servers are told, all at once and about the same few identifiers, has an order."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.faults.load import KEY
from tests.faults.server import Server
from tests.histories.callers import Callers, Hot
from tests.histories.conftest import Report
from tests.histories.search import assert_linearizable

MOST = 10
"""Identifiers and tombstones of a profile; so few that some histories reach it."""


@pytest.mark.timeout(1800)
async def test_every_history_of_one_server_over_a_file_has_an_order(
    tmp_path: Path, random: Random, report: Report, long: bool
) -> None:
    async with _server(tmp_path) as server:
        report(f"one server over SQLite: {await _search([server], random, 100_000 if long else 1_000)}")


@pytest.mark.timeout(1800)
async def test_every_history_through_the_death_of_the_server_has_an_order(
    tmp_path: Path, random: Random, report: Report, long: bool
) -> None:
    async with _server(tmp_path) as server:
        report(f"one server over SQLite, killed: {await _search_deaths([server], random, 100 if long else 2)}")


def _server(folder: Path) -> Server:
    return Server(folder, settings={"AKA_MAX_IDENTIFIERS_PER_PROFILE": str(MOST)})


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
    for server in servers:
        await server.check()
        server.assert_no_bug_logged()
