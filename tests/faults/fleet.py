"""Servers over one PostgreSQL, under load, and what must hold whatever was done to them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import asyncpg

from tests.faults.history import KINDS, NUMBERS, Call, Family, History, Step
from tests.faults.load import Client, ask_again, load, more, settle, share
from tests.faults.server import Server
from tests.faults.watch import WITHIN, Watch

DEADLINE: Final = 3.0
"""Seconds that each call may take."""
LATE: Final = 1.0
"""Seconds beyond its deadline by which a server must have answered a call."""


@dataclass(frozen=True)
class Fleet:
    """Some servers and their callers."""

    servers: Sequence[Server]
    watches: Sequence[Watch]
    history: History
    random: Random
    loading: asyncio.Task[None]

    async def serves(self, calls: int = 100) -> None:
        """Wait until so many more calls were acknowledged."""
        await more(self.history.acknowledged, calls, self.loading)

    async def fails(self, calls: int = 20) -> None:
        """Wait until so many more calls failed that should not."""
        await more(lambda: self.history.reasons().total(), calls, self.loading)

    async def recovers(self) -> None:
        """Wait until all servers say that they are well, and serve, without anybody's help."""
        for watch in self.watches:
            await watch.well_again()
        await self.serves()

    def assert_deadlines_were_kept(self) -> None:
        """Fail where a server answered later than its caller's deadline and `LATE`."""
        longest = max(watch.longest for watch in self.watches)
        assert longest < WITHIN + LATE, f"an answer took {longest:.2f} s, and had {WITHIN} s"


@asynccontextmanager
async def fleet(
    folder: Path,
    url: str,
    history: History,
    random: Random,
    *,
    directly: str = "",
    servers: int = 3,
    callers: int = 48,
    settings: Mapping[str, str] = {},
    inside: Sequence[str] = (),
) -> AsyncIterator[Fleet]:
    """Serve the database of a URL, with load while the block runs; at the block's end all must be well by itself.

    Then nothing that was acknowledged may be lost or doubled, nothing that was refused done, what is unknown can be
    repeated, and no server said that it met a bug. The rows are counted over `directly`, where that is another URL.
    In values of `settings`, `{number}` is the server's.
    """
    given = {"AKA_DATABASE_URL": url, "AKA_REST_ADDRESS": "127.0.0.1:0", **settings}
    async with AsyncExitStack() as stack:
        own = []
        for number in range(servers):
            place = folder / f"server-{number}"
            place.mkdir()
            here = {name: value.format(number=number) for name, value in given.items()}
            own.append(Server(place, settings=here, inside=inside))
        await asyncio.gather(*map(stack.enter_async_context, own))
        for server in own:
            server.keep_addresses()
        client = await stack.enter_async_context(Client([server.address for server in own], history))
        shared = await share(client, random)

        async def make(family: Family, step: Step) -> Call:
            return await client.make(family, step, DEADLINE)

        over = asyncio.Event()
        loading = asyncio.create_task(
            load(client, random, over, callers=callers, shared=shared, make=make, rests=0.2, at_most=1_000_000)
        )
        async with AsyncExitStack() as watching:
            watching.push_async_callback(_end, over, loading)
            watches = [await watching.enter_async_context(Watch(server)) for server in own]
            running = Fleet(own, watches, history, random, loading)
            await running.serves()
            yield running
            await running.recovers()
        first = len(history.calls)
        await settle(client)
        assert await ask_again(client, history.calls[max(0, first - 300) : first]) > 0
        history.compare(await _rows(directly or url))
        await own[0].check()
        history.assert_sound()
        for server in own:
            server.assert_no_bug_logged()
        assert not any(await asyncio.gather(*(server.stop() for server in own)))


async def _end(over: asyncio.Event, loading: asyncio.Task[None]) -> None:
    over.set()
    await loading


async def _rows(url: str) -> Counter[str]:
    connection = await asyncpg.connect(url)
    try:
        have = Counter({f"journal: {kind}": number for kind, number in await connection.fetch(KINDS)})
        for what, query in NUMBERS.items():
            have[what] = await connection.fetchval(query)
        return have
    finally:
        await connection.close()
