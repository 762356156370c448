"""How often transactions of several writers abort: aka's own, and SERIALIZABLE ones without locks, on the same work.

`python -m benchmarks.isolation` prints a table; docs/decisions has what one run came to. Three processes each write
groups of 64 calls for some seconds: links of new ids to new users of its own, or to users of a hot set that all share.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random
from typing import Final, NamedTuple

import asyncpg

from aka.server.domain.alias import Alias
from aka.server.domain.identifiers import Key, id_of
from aka.server.domain.rules import Rules
from aka.server.store import postgres_connection, postgres_groups
from aka.server.store.databases import migrate_database
from aka.server.store.deciding import Call
from aka.server.store.postgres_connection import Clash, Connection
from aka.server.store.postgres_graph import Place, survivors_of
from aka.server.store.postgres_url import PostgresUrl
from aka.server.store.store import Caller, Workspace
from aka.v1 import alias_service_pb2 as v1
from benchmarks.raw_postgres import postgres
from tests.postgres.databases import execute

WRITERS: Final = 3
GROUP: Final = 64
HOT: Final = 1000
"""Users of the hot set."""
SECONDS: Final = 8.0
RULES: Final = Rules(max_identifiers=10_000)
_BY: Final = Caller(bytes(16), "benchmark")


class Counted(NamedTuple):
    """What a writer came to."""

    committed: int
    aborted: int


def apart(random: Random, writer: int, group: int) -> Iterable[Call]:
    """Link new ids to new users, whose ids are random, so that indexes are touched all over."""
    for number in range(GROUP):
        name = f"{random.getrandbits(64):016x}-{writer}-{group}-{number}"
        yield _call(Alias(id_of(name), id_of(f"{name}-card"), v1.MERGE_POLICY_NEVER, True, False, RULES))


def hot(random: Random, writer: int, group: int) -> Iterable[Call]:
    """Link new ids to users of the hot set."""
    for number in range(GROUP):
        user, card = id_of(f"hot-{random.randrange(HOT)}"), id_of(f"card-{writer}-{group}-{number}")
        yield _call(Alias(user, card, v1.MERGE_POLICY_NEVER, True, False, RULES))


WORK: Final[dict[str, Callable[[Random, int, int], Iterable[Call]]]] = {"apart": apart, "hot": hot}


def _call(decision: Alias) -> Call:
    return Call.of(Workspace(1), [decision], _BY)


def write(url: str, work: str, serializable: bool, writer: int) -> Counted:
    """Write groups for some seconds; one that aborts is begun again until it commits."""
    if serializable:
        postgres_connection._BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE"  # type: ignore[misc]
        postgres_groups.lock = _no_lock  # type: ignore[attr-defined]
    return asyncio.run(_write(url, WORK[work], writer))


async def _no_lock(connection: asyncpg.Connection, keys: Mapping[Workspace, Collection[Key]]) -> set[Place]:
    return set(await survivors_of(connection, keys))


async def _write(url: str, work: Callable[[Random, int, int], Iterable[Call]], writer: int) -> Counted:
    connection = Connection(PostgresUrl.parse(url))
    random = Random(writer)
    committed = aborted = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        calls = list(work(random, writer, committed))
        while True:
            try:
                await connection.transact(lambda same: postgres_groups.change(same, calls, time.time_ns() // 1000))  # noqa: B023
                break
            except Clash:
                aborted += 1
        committed += 1
    connection.close()
    return Counted(committed, aborted)


def main() -> None:
    """Run all and print the table."""
    print(f"{WRITERS} writers, groups of {GROUP}, {SECONDS:.0f} s each\n")
    print("| work | transactions | groups/s | aborted |\n|---|---|---|---|")
    with postgres() as raw:
        for work in WORK:
            for serializable in (False, True):
                name = f"{work}_{'serializable' if serializable else 'locks'}"
                execute(raw.cluster.url(), f"CREATE DATABASE {name}")
                url = raw.cluster.url(name)
                migrate_database(PostgresUrl.parse(url), apply=True)
                execute(url, "INSERT INTO workspaces (name, created_at) VALUES ('default', 0)")
                with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
                    counted = list(
                        pool.map(write, *zip(*((url, work, serializable, n) for n in range(WRITERS)), strict=True))
                    )
                committed, aborted = (sum(each) for each in zip(*counted, strict=True))
                how = "SERIALIZABLE" if serializable else "READ COMMITTED with locks"
                rate = committed / SECONDS
                print(f"| {work} | {how} | {rate:.0f} | {aborted / (committed + aborted):.1%} |", flush=True)


if __name__ == "__main__":
    main()
