"""A server that hangs for a while: clients' deadlines pass, and what they gave up is not done later."""

import asyncio
import signal
import time
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import Call, End, Family, History, Step
from tests.faults.lives import Life, new_user
from tests.faults.load import Client, load, settle, share
from tests.faults.locker import locked
from tests.faults.server import Server

DEADLINE = 0.5
HANGS = 1.4


@pytest.mark.timeout(300)
async def test_calls_whose_deadline_passed_while_the_server_hung_are_not_done_after(
    server: Server, history: History, random: Random, report: Report, long: bool
) -> None:
    hangs: list[tuple[float, float, int]] = []
    async with server, Client(server.address, history) as client:
        shared = await share(client, random)

        async def make(family: Family, step: Step) -> Call:
            return await client.make(family, step, DEADLINE)

        over = asyncio.Event()
        callers = 192 if long else 64
        loading = asyncio.create_task(load(client, random, over, callers=callers, shared=shared, make=make))
        for _ in range(15 if long else 2):
            await asyncio.sleep(random.uniform(0.3, 0.6))
            server.send(signal.SIGSTOP)
            stopped = time.monotonic()
            history.injected += 1
            await asyncio.sleep(HANGS)
            hangs.append((stopped, time.monotonic(), time.time_ns() // 1000))
            server.send(signal.SIGCONT)
        await asyncio.sleep(0.5)
        over.set()
        await loading

        assert history.reasons()["DEADLINE_EXCEEDED"] >= callers
        await settle(client)
        history.count(server.database)
        await server.check()
        server.assert_no_bug_logged()
        done_at = history.done_at(server.database)
    report("server hangs", history)
    history.assert_sound()
    for stopped, continued, continued_at in hangs:
        given_up = [
            call.id
            for call in history.calls
            if call.end is End.UNKNOWN and call.deadline and stopped < call.deadline < continued - 0.2
        ]
        assert given_up, "no call's deadline passed while the server hung"
        late = {at for call in given_up if (at := done_at.get(call, 0)) >= continued_at}
        assert len(late) <= 1, f"{len(late)} groups did calls that were given up; one may have been under way"


async def test_calls_that_waited_for_their_turn_when_their_deadline_passed_are_not_done(
    server: Server, history: History, random: Random
) -> None:
    async with server, Client(server.address, history, channels=1) as client:
        await client.read()
        for _ in range(5):
            families = [history.family() for _ in range(33)]
            steps = [next(Life(family, random).steps(new_user)) for family in families]
            async with locked(server.database):
                first = asyncio.create_task(client.make(families[0], steps[0]))
                await asyncio.sleep(0.02)
                await client.read()  # answered when the first call is under way, and waits for the lock
                pairs = zip(families[1:], steps[1:], strict=True)
                behind = [asyncio.create_task(client.make(*pair, 0.3)) for pair in pairs]
                await asyncio.sleep(0.02)
                await client.read()
                server.send(signal.SIGSTOP)
                given_up = [await call for call in behind]
                server.send(signal.SIGCONT)
            if (await first).end is End.ACKNOWLEDGED:  # else it waited too long, and those behind it had their turn
                break
        assert {call.reason for call in given_up} == {"DEADLINE_EXCEEDED"}
        assert (await first).end is End.ACKNOWLEDGED
        await settle(client)
        history.count(server.database)
        done_at = history.done_at(server.database)
    assert not {call.id for call in given_up} & done_at.keys()
    history.assert_sound()


async def test_the_server_answers_again_when_it_goes_on(server: Server, history: History, random: Random) -> None:
    async with server, Client(server.address, history) as client:
        await load(client, random, asyncio.Event(), callers=8, at_most=50)
        server.send(signal.SIGSTOP)
        waiting = asyncio.create_task(load(client, random, asyncio.Event(), callers=8, at_most=50))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        server.send(signal.SIGCONT)
        await waiting
        assert history.ended(End.UNKNOWN) == 0
        await history.look(client.resolve)
        history.count(server.database)
        await server.check()
    history.assert_sound()
