"""What can be done to PostgreSQL and to those who speak to it. Each returns when it is over."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import asyncpg

from tests.faults.fleet import DEADLINE, Fleet
from tests.faults.relay import Relay, When
from tests.faults.watch import WITHIN
from tests.postgres.cluster import Cluster

AWAY: Final = DEADLINE + 1.5
"""Seconds that a database is away: longer than callers wait."""


@dataclass(frozen=True)
class Place:
    """Servers, the database that they share, and what stands between."""

    fleet: Fleet
    cluster: Cluster
    relay: Relay


Inject = Callable[[Place], Awaitable[None]]


async def kill_a_server(place: Place) -> None:
    """One of the servers is killed; the others serve on, and then it does again."""
    server = place.fleet.random.choice(place.fleet.servers)
    await server.kill()
    await place.fleet.serves(50)
    await server.start()


async def kill_the_database(place: Place) -> None:
    """All of PostgreSQL's processes are killed, and it is started again after a while."""
    await asyncio.to_thread(place.cluster.kill)
    await place.fleet.fails()
    await asyncio.sleep(1)
    await asyncio.to_thread(place.cluster.start)


async def terminate_the_connections(place: Place) -> None:
    """Every connection is terminated, whatever it does."""
    await _execute(place, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aka' AND " + _OTHERS)


async def cut_before_commit(place: Place) -> None:
    """The next connections to commit are cut, and PostgreSQL never gets the COMMIT."""
    await _cut_commits(place, When.BEFORE)


async def cut_after_commit(place: Place) -> None:
    """The next connections to commit are cut when PostgreSQL has done it, and nobody is told."""
    await _cut_commits(place, When.AFTER)


async def terminate_in_commit(place: Place) -> None:
    """COMMIT waits for a standby that is not there, and those who wait are terminated."""
    await _execute(place, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    await asyncio.sleep(WITHIN + 0.5)
    await _execute(
        place,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        "ALTER SYSTEM RESET synchronous_standby_names",
        "SELECT pg_reload_conf()",
    )


async def freeze_the_database(place: Place) -> None:
    """All of PostgreSQL's processes stand still, longer than callers wait."""
    place.cluster.freeze()
    await asyncio.sleep(AWAY)
    place.cluster.thaw()


async def lose_what_is_sent(place: Place) -> None:
    """Nothing comes through any more and nobody says so; later, new connections work."""
    place.relay.fall_silent()
    await asyncio.sleep(AWAY)
    place.relay.speak()


async def cut_at_any_byte(place: Place) -> None:
    """Every connection is cut sooner or later, wherever it happens to be."""
    place.relay.cut()
    place.relay.cut_at_any_byte(place.fleet.random)
    await asyncio.sleep(AWAY)
    place.relay.cut_at_any_byte(None)
    place.relay.cut()


async def _cut_commits(place: Place, when: When) -> None:
    wanted = place.relay.cuts + 3
    place.relay.cut_commits(when, 3)
    while place.relay.cuts < wanted:
        await place.fleet.serves(1)


_OTHERS: Final = "pid <> pg_backend_pid()"


async def _execute(place: Place, *statements: str) -> None:
    connection = await asyncpg.connect(place.cluster.url())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
