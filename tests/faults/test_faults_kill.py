"""kill -9 under load: what was acknowledged is there, and everything else is whole or absent."""

import asyncio
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import End, History
from tests.faults.load import Client, ask_again, load, settle, share
from tests.faults.server import Server


@pytest.mark.timeout(540)
async def test_a_server_that_is_killed_under_load_ten_times_has_all_that_it_acknowledged(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    kills, callers, shortest, longest = (20, 64, 0.3, 1.5) if long else (10, 32, 0.1, 0.4)
    repeated = 0
    try:
        await server.start()
        async with Client(server.address, history) as client:
            shared = await share(client, random)
        for number in range(kills):
            first, killed = len(history.calls), asyncio.Event()
            async with Client(server.address, history) as client:
                loading = asyncio.create_task(load(client, random, killed, callers=callers, shared=shared))
                await asyncio.sleep(random.uniform(shortest, longest))
                await server.kill()
                history.injected += 1
                killed.set()
                await loading
            if number % 4 == 3:  # once more, while it starts and recovers the file
                server.spawn()
                await asyncio.sleep(random.uniform(0.1, 0.8))
                await server.kill()
                history.injected += 1
            await server.start()
            async with Client(server.address, history) as client:
                await settle(client)
                repeated += await ask_again(client, history.calls[first:][-200:])
            history.count(server.database)
            await server.check()
            history.assert_sound()
            server.assert_no_bug_logged()
    finally:
        await server.kill()
        report("kill -9", history)
    assert history.ended(End.UNKNOWN) > 0, "no call was under way when the server was killed"
    assert repeated > 0
