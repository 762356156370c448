"""What another server commits between a group's look at the database and its writing stays."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

import pytest

from aka.server.domain.changes import Change
from aka.server.domain.graph import Decision, Graph
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.domain.profile_data import Tracked
from aka.server.store.postgres import PostgresStore
from aka.server.store.postgres_check import check
from aka.server.store.postgres_connection import connect
from aka.server.store.postgres_url import PostgresOptions, PostgresUrl
from aka.server.store.store import Workspace
from tests.domain.world import alias, create_alias, delete_alias, identify, pair
from tests.postgres.databases import drop_database, execute, fresh_database
from tests.store.tenant import Tenant


@dataclass(frozen=True)
class Meanwhile:
    """A decision during which something else is done, the first time."""

    decision: Decision[Any]
    do: Callable[[], None]

    @property
    def keys(self) -> tuple[Key, ...]:
        return self.decision.keys

    @property
    def labels_of(self) -> Identifier | None:
        return self.decision.labels_of

    def decide(self, graph: Graph) -> tuple[Any, tuple[Change | Tracked, ...]]:
        self.do()
        return self.decision.decide(graph)


class OtherServer:
    """Another store over the same database, on a thread of its own; it does one thing once."""

    def __init__(self, database: str, workspace: Workspace, decision: Decision[Any]) -> None:
        self._database = database
        self._workspace = workspace
        self._decision = decision
        self.answer: Any = None

    def __call__(self) -> None:
        if self.answer is None:
            thread = Thread(target=lambda: asyncio.run(self._do()))
            thread.start()
            thread.join()

    async def _do(self) -> None:
        store = await PostgresStore.open(PostgresUrl.parse(self._database), PostgresOptions())
        self.answer = await Tenant(store, self._workspace).do(self._decision)
        await store.close()


@pytest.fixture
def database() -> Iterator[str]:
    url = fresh_database()
    yield url
    drop_database(url)


@pytest.fixture
async def tenant(database: str) -> AsyncIterator[Tenant]:
    store = await PostgresStore.open(PostgresUrl.parse(database), PostgresOptions())
    [row] = execute(database, "INSERT INTO workspaces (name, created_at) VALUES ('acme', 0) RETURNING id")
    yield Tenant(store, Workspace(row["id"]))
    await store.close()


async def _x_after(
    tenant: Tenant, database: str, decision: Decision[Any], *more: Decision[Any]
) -> list[ProfileId | None]:
    """Decide while another server makes x known; return whose x is, and whose the other made it."""
    other = OtherServer(database, tenant.workspace, identify("x"))
    await tenant.batch(Meanwhile(decision, other), *more)
    return [*await tenant.whose("x"), other.answer.profile_id]


async def test_an_id_that_becomes_a_primary_id_is_not_taken_from_whom_it_was_given_meanwhile(
    tenant: Tenant, database: str
) -> None:
    await tenant.do(create_alias(pair("crm", "1")))
    x, theirs = await _x_after(tenant, database, identify("x", pair("crm", "1")))
    assert x == theirs


async def test_an_id_that_is_linked_and_unlinked_is_not_taken_from_whom_it_was_given_meanwhile(
    tenant: Tenant, database: str
) -> None:
    await tenant.do(identify("ann"))
    x, theirs = await _x_after(tenant, database, alias("ann", "x"), delete_alias("x"))
    assert x == theirs


BOB_WAITS: Final = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM 1 FROM locks WHERE name = 'migrations' FOR UPDATE;
        RETURN NULL;
    END $$;
    CREATE TRIGGER waiting AFTER INSERT ON journal
        FOR EACH ROW WHEN (NEW.profile = '{bob}') EXECUTE FUNCTION wait();
"""
WAITING: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def test_the_journal_has_servers_changes_in_the_order_in_which_they_came_about(
    tenant: Tenant, database: str
) -> None:
    await tenant.do(identify("ann"))
    await tenant.do(identify("bob"))
    [bob] = await tenant.whose("bob")
    assert bob is not None
    holder, looker = [await connect(PostgresUrl.parse(database)) for _ in range(2)]
    await looker.execute(BOB_WAITS.format(bob=f"\\x{bob.hex()}"))
    async with holder.transaction():
        await holder.execute("SELECT 1 FROM locks FOR UPDATE")
        links = asyncio.ensure_future(tenant.do(alias("bob", "x")))
        while await looker.fetchval(WAITING) < 1:
            pass
        links_and_unlinks = asyncio.ensure_future(tenant.batch(alias("ann", "x"), delete_alias("x")))
        while await looker.fetchval(WAITING) < 2 and not links_and_unlinks.done():
            pass
    await asyncio.gather(links, links_and_unlinks)
    assert (await check(looker)).faults == []
    for connection in (holder, looker):
        await connection.close()
