"""Clients that hang up or stop waiting in the middle of a call."""

import asyncio
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import Call, End, Family, History, Step
from tests.faults.load import Client, load, settle, share
from tests.faults.server import Server


async def _settled(server: Server, history: History, random: Random) -> None:
    """Everything is whole or absent, can be repeated, and the server serves on as if nothing had been."""
    async with Client(server.address, history) as client:
        await settle(client)
        unknown = history.ended(End.UNKNOWN)
        await load(client, random, asyncio.Event(), callers=8, at_most=200)
        assert history.ended(End.UNKNOWN) == unknown, "a call failed after the faults were over"
        await history.look(client.resolve)
    history.count(server.database)
    await server.check()
    history.assert_sound()
    server.assert_no_bug_logged()


@pytest.mark.timeout(300)
async def test_deadlines_that_pass_in_the_middle_of_thousands_of_calls_cut_nothing_in_half(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    async with server, Client(server.address, history) as client:
        shared = await share(client, random)

        async def make(family: Family, step: Step) -> Call:
            if random.random() < 0.4:
                return await client.make(family, step)
            history.injected += 1
            return await client.make(family, step, 10 ** random.uniform(-4, -1.2))

        at_most = 12_000 if long else 1_500
        await load(client, random, asyncio.Event(), callers=48, shared=shared, make=make, at_most=at_most)
        assert history.reasons()["DEADLINE_EXCEEDED"] > at_most / 20
        await _settled(server, history, random)
    report("deadline passes mid-call", history)


@pytest.mark.timeout(300)
async def test_calls_that_are_cancelled_by_the_thousand_cut_nothing_in_half(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    async with server, Client(server.address, history) as client:
        shared = await share(client, random)

        async def make(family: Family, step: Step) -> Call | None:
            if random.random() < 0.4:
                return await client.make(family, step)
            call = asyncio.create_task(client.make(family, step))
            done, _ = await asyncio.wait({call}, timeout=10 ** random.uniform(-4, -1.2))
            if done:
                return call.result()
            history.injected += 1
            call.cancel()
            await asyncio.wait({call})
            return None

        at_most = 12_000 if long else 1_500
        await load(client, random, asyncio.Event(), callers=48, shared=shared, make=make, at_most=at_most)
        assert history.reasons()["HUNG_UP"] > at_most / 20
        await _settled(server, history, random)
    report("call cancelled", history)


@pytest.mark.timeout(300)
async def test_connections_that_are_closed_with_calls_under_way_cut_nothing_in_half(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    async with server:
        for _ in range(100 if long else 15):
            client = Client(server.address, history, channels=1)
            closed = asyncio.Event()
            loading = asyncio.create_task(load(client, random, closed, callers=24, at_most=1000))
            await asyncio.sleep(random.uniform(0.01, 0.15))
            closed.set()
            await client.hang_up()
            history.injected += 1
            await loading
        assert history.ended(End.UNKNOWN) > 0
        await _settled(server, history, random)
    report("connection closed", history)
