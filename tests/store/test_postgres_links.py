"""Servers that share a PostgreSQL database and import the same profiles at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aka.server.domain.identifiers import ProfileId
from aka.server.store.postgres import PostgresStore
from aka.server.store.postgres_check import check
from aka.server.store.postgres_connection import connect
from aka.server.store.postgres_url import PostgresOptions, PostgresUrl
from aka.server.store.store import Workspace
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import import_link, pair
from tests.postgres.databases import fresh_database
from tests.store.tenant import Tenant

PROFILES = [ProfileId(bytes.fromhex(f"0189000000007000800000000000{number:04x}")) for number in range(50)]


@pytest.fixture
async def servers() -> AsyncIterator[list[Tenant]]:
    """The same workspace as three servers see it, of a database that must be sound afterwards."""
    url = PostgresUrl.parse(fresh_database())
    stores = [await PostgresStore.open(url, PostgresOptions()) for _ in range(3)]
    beside = await connect(url)
    number = await beside.fetchval("INSERT INTO workspaces (name, created_at) VALUES ('acme', 0) RETURNING id")
    yield [Tenant(store, Workspace(number)) for store in stores]
    for store in stores:
        await store.close()
    assert (await check(beside)).faults == []
    beside.terminate()


async def test_a_profile_whose_id_two_give_at_once_has_the_links_of_both(servers: list[Tenant]) -> None:
    results = await asyncio.gather(
        *(
            server.do(import_link(None, pair(f"l{number}", profile.hex()), profile=profile))
            for profile in PROFILES
            for number, server in enumerate(servers)
        )
    )
    assert [result.outcome for result in results].count(v1.OUTCOME_CREATED) == len(PROFILES)
    for profile in PROFILES:
        header = await servers[0].header(profile)
        assert (header.identifiers, header.user_aliases) == (len(servers), len(servers))
