"""What callers of real servers are told, all at once and about the same few identifiers, has an order."""

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
    async with Server(tmp_path, settings={"AKA_MAX_IDENTIFIERS_PER_PROFILE": str(MOST)}) as server:
        report(f"one server over SQLite: {await search([server], random, operations=100_000 if long else 1_500)}")


async def search(servers: list[Server], random: Random, *, operations: int) -> str:
    """Make short histories and search each for an order, until there were so many operations; then check the store."""
    histories = done = states = 0
    async with Callers([server.address for server in servers], KEY, random) as callers:
        while done < operations:
            parts = random.choice((1, 1, 3))
            hot = [Hot(f"h{histories}.{part}", random) for part in range(parts)]
            history = await callers.history(hot, random.choice((60, 120, 240)))
            states += assert_linearizable(history, most=MOST)
            histories, done = histories + 1, done + len(history)
    for server in servers:
        await server.check()
        server.assert_no_bug_logged()
    return f"{histories} histories of {done} calls, {states} states, every one has an order"
