"""Another process locks the file: calls wait or are refused, and go on when it lets go."""

import asyncio
from itertools import product
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import End, History
from tests.faults.load import Client, load, more, settle, share
from tests.faults.locker import locked
from tests.faults.server import Server


@pytest.mark.timeout(300)
async def test_a_locked_file_refuses_changes_but_no_reads_until_it_is_free_again(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    async with server, Client(server.address, history) as client:
        shared = await share(client, random)
        over = asyncio.Event()
        loading = asyncio.create_task(load(client, random, over, callers=32, shared=shared))
        faults = [("EXCLUSIVE", True), ("IMMEDIATE", False)]
        if long:
            faults = list(product(("IMMEDIATE", "EXCLUSIVE"), (True, False))) * 4
        for how, for_long in faults:
            await asyncio.sleep(0.2)
            history.injected += 1
            async with locked(server.database, how):
                if for_long:
                    refused = history.reasons()["STORE_UNAVAILABLE"]
                    while history.reasons()["STORE_UNAVAILABLE"] < refused + 32:
                        await client.read()
                        await asyncio.sleep(0.02)
                else:
                    await asyncio.sleep(random.uniform(0.05, 0.5))  # no longer than a call waits for the lock
            await more(history.acknowledged, 32, loading)  # without a restart
        over.set()
        await loading
        assert set(history.reasons()) == {"STORE_UNAVAILABLE"}
        assert history.ended(End.UNKNOWN) == 0
        await settle(client)
        history.count(server.database)
        await server.check()
        server.assert_no_bug_logged()
    report("file locked", history)
    history.assert_sound()
