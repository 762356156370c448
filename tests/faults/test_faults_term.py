"""SIGTERM under load: what is under way is finished, what was answered is there, and the exit code is 0."""

import asyncio
import signal
import time
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import End, History
from tests.faults.lives import Life, new_user
from tests.faults.load import Client, load, settle, share
from tests.faults.locker import locked
from tests.faults.server import Server


@pytest.mark.timeout(300)
async def test_a_server_that_is_stopped_under_load_has_all_that_it_acknowledged_and_exits_with_0(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    try:
        await server.start()
        async with Client(server.address, history) as client:
            shared = await share(client, random)
        for _ in range(15 if long else 2):
            over = asyncio.Event()
            async with Client(server.address, history) as client:
                callers = 64 if long else 32
                loading = asyncio.create_task(load(client, random, over, callers=callers, shared=shared))
                await asyncio.sleep(random.uniform(0.2, 0.5))
                told = time.monotonic()
                server.send(signal.SIGTERM)
                history.injected += 1
                code = await server.ended()
                over.set()
                await loading
            assert code == 0
            cut_off = [
                call for call in history.calls if call.started < told < call.ended and call.reason == "CANCELLED"
            ]
            # But for the few that their callers had begun and not yet sent, none that was under way is cut off.
            assert len(cut_off) <= callers // 8, cut_off
            server.assert_no_bug_logged()
            await server.start()
            async with Client(server.address, history) as client:
                await settle(client)
            history.count(server.database)
            await server.check()
            history.assert_sound()
    finally:
        await server.kill()
        report("SIGTERM", history)


async def test_calls_that_wait_when_the_server_is_told_to_stop_are_answered(
    server: Server, history: History, random: Random
) -> None:
    async with server:
        async with Client(server.address, history, channels=1) as client:
            families = [history.family() for _ in range(64)]
            steps = [next(Life(family, random).steps(new_user)) for family in families]
            await client.read()
            async with locked(server.database):  # so that no call is done before the signal
                calls = [asyncio.create_task(client.make(*pair)) for pair in zip(families, steps, strict=True)]
                await asyncio.sleep(0)
                await client.read()  # answered after the calls before it arrived
                server.send(signal.SIGTERM)
                await asyncio.sleep(0.1)
                assert server.running
            ended = [await call for call in calls]
        assert await server.ended() == 0
        # A call that found the file locked for too long is told so: nothing was changed.
        assert {(call.end, call.reason) for call in ended} <= {
            (End.ACKNOWLEDGED, ""),
            (End.REFUSED, "STORE_UNAVAILABLE"),
        }
        await server.start()
        async with Client(server.address, history) as client:
            await history.look(client.resolve)
        history.count(server.database)
        await server.check()
    history.assert_sound()
