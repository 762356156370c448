"""Another process locks the file: calls wait or are refused, and go on when it lets go."""

import asyncio
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import End, History
from tests.faults.load import Client, load, more, settle, share
from tests.faults.locker import locked
from tests.faults.server import Server


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_locked_file_refuses_changes_but_no_reads_until_it_is_free_again(
    server: Server, history: History, random: Random, report: Report, long: bool, how: str
) -> None:
    async with server, Client(server.address, history) as client:
        shared = await share(client, random)
        over = asyncio.Event()
        loading = asyncio.create_task(load(client, random, over, callers=32, shared=shared))
        for number in range(8 if long else 2):
            await asyncio.sleep(0.2)
            history.injected += 1
            async with locked(server.database, how):
                if number % 2:
                    await asyncio.sleep(random.uniform(0.05, 0.5))  # no longer than a call waits for the lock
                else:
                    refused = history.reasons()["STORE_UNAVAILABLE"]
                    while history.reasons()["STORE_UNAVAILABLE"] < refused + 32:
                        await client.read()
                        await asyncio.sleep(0.02)
            await more(history.acknowledged, 32, loading)  # without a restart
        over.set()
        await loading
        assert set(history.reasons()) == {"STORE_UNAVAILABLE"}
        assert history.ended(End.UNKNOWN) == 0
        await settle(client)
        history.count(server.database)
        await server.check()
        server.assert_no_bug_logged()
    report(f"file locked ({how})", history)
    history.assert_sound()
