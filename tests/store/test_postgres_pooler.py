"""PostgreSQL behind pgbouncer, which gives each transaction another connection (by `make test-faults`)."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from aka.server.store.postgres import PostgresStore
from aka.server.store.postgres_url import PostgresOptions, PostgresUrl
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, delete_alias, identify, pair
from tests.postgres.cluster import AS_SERVER, free_port, new_folder
from tests.store.backends import Postgres
from tests.store.tenant import Tenant

pytestmark = pytest.mark.skipif(
    os.environ.get("AKA_TEST_LONG") != "1", reason="long: pgbouncer must be installed; make test-faults does so"
)

SETTINGS = """
[databases]
* = host={host} port={port} user=aka
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@pytest.fixture
async def pooled(tmp_path: Path) -> AsyncIterator[Tenant]:
    """A workspace of a store that reaches its database through pgbouncer."""
    backend = await Postgres.empty(tmp_path)
    folder, listen = new_folder(), free_port()
    [(host, port)] = backend.url.hosts
    (folder / "pgbouncer.ini").write_text(SETTINGS.format(host=host, port=port, listen=listen))
    pgbouncer = shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin")
    assert pgbouncer is not None, "pgbouncer is not installed: apt-get install pgbouncer"
    process = await asyncio.create_subprocess_exec(
        *AS_SERVER, pgbouncer, str(folder / "pgbouncer.ini"), stderr=asyncio.subprocess.DEVNULL
    )
    name = backend.url.text.rpartition("/")[2]
    url = PostgresUrl.parse(f"postgresql://aka@127.0.0.1:{listen}/{name}")
    while True:
        try:
            (await asyncpg.connect(url.text, host="127.0.0.1", port=listen, statement_cache_size=0)).terminate()
            break
        except OSError:
            await asyncio.sleep(0.05)
    store = await PostgresStore.open(url, PostgresOptions(prepares=False))
    try:
        yield Tenant(store, await backend.add_workspace("acme"))
        await store.close()
        assert await backend.close() == []
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(folder)


async def test_many_callers_at_once_are_served_through_a_pooler(pooled: Tenant) -> None:
    users = [f"user-{number}" for number in range(100)]
    made = await asyncio.gather(
        *(pooled.batch(identify(user), create_alias(pair("crm", user), user)) for user in users)
    )
    assert {each[0].outcome for each in made} == {v1.OUTCOME_CREATED}
    linked = await asyncio.gather(*(pooled.batch(alias(user, f"{user}-card")) for user in users))
    assert {each[0].outcome for each in linked} == {v1.OUTCOME_LINKED}
    found = await asyncio.gather(*(pooled.whose(user, f"{user}-card", pair("crm", user)) for user in users))
    assert all(len(set(each)) == 1 for each in found)


async def test_merges_and_pages_go_through_a_pooler(pooled: Tenant) -> None:
    await pooled.batch(identify("ann"), identify("bob"), create_alias(pair("crm", "1"), "bob"), alias("bob", "card"))
    merged = await pooled.do(alias("ann", "bob", v1.MERGE_POLICY_ALWAYS))
    assert merged.outcome == v1.OUTCOME_MERGED
    await pooled.do(delete_alias("card"))
    assert len(await pooled.identifiers("ann")) == 3
