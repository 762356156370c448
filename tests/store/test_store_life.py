"""API keys, and the end of a store."""

import asyncio
import hashlib

import pytest

from aka.server.domain.identifiers import id_of
from aka.server.errors import AkaError
from aka.server.store.store import Caller, NewApiKey, Store
from tests.domain.world import identify
from tests.store.backends import Backend
from tests.store.tenant import Tenant

DIGEST = hashlib.sha256(b"secret").digest()
PERMISSIONS = ["profiles.read", "aliases.write", "operator"]


def new_key(digest: bytes) -> NewApiKey:
    return NewApiKey(digest[:16], digest, "bootstrap", "aka_1234", PERMISSIONS)


FIRST = new_key(DIGEST)


async def test_an_empty_store_has_no_key(store: Store) -> None:
    assert await store.find_api_key(DIGEST) is None


async def test_the_first_key_is_found_by_its_digest(store: Store) -> None:
    assert await store.add_first_api_key("default", FIRST)
    key = await store.find_api_key(DIGEST)
    assert key is not None
    assert (key.name, key.permissions, key.expires_at, key.revoked_at) == (
        "bootstrap",
        frozenset(PERMISSIONS),
        None,
        None,
    )


async def test_a_key_is_not_found_by_another_digest(store: Store) -> None:
    await store.add_first_api_key("default", FIRST)
    assert await store.find_api_key(DIGEST[:-1] + b"\x00") is None
    assert await store.find_api_key(DIGEST[:-1]) is None


async def test_a_second_first_key_is_not_added(store: Store) -> None:
    other = hashlib.sha256(b"other").digest()
    await store.add_first_api_key("default", FIRST)
    assert not await store.add_first_api_key("elsewhere", new_key(other))
    assert await store.find_api_key(other) is None


async def test_of_first_keys_that_come_at_once_one_is_added(store: Store) -> None:
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(10)]
    added = await asyncio.gather(*(store.add_first_api_key("default", new_key(digest)) for digest in digests))
    found = await asyncio.gather(*map(store.find_api_key, digests))
    assert added.count(True) == 1
    assert [key is not None for key in found] == added


async def test_the_first_key_makes_its_workspace(store: Store) -> None:
    await store.add_first_api_key("default", FIRST)
    key = await store.find_api_key(DIGEST)
    assert key is not None
    made = await Tenant(store, key.workspace).do(identify("ann"))
    assert await Tenant(store, key.workspace).whose("ann") == [made.profile_id]


async def test_the_first_key_joins_a_workspace_that_is_there(tenant: Tenant) -> None:
    await tenant.store.add_first_api_key("acme", FIRST)
    key = await tenant.store.find_api_key(DIGEST)
    assert key is not None
    assert key.workspace == tenant.workspace


async def test_keys_are_found_while_changes_and_reads_go_on(tenant: Tenant) -> None:
    await tenant.store.add_first_api_key("acme", FIRST)
    found, *_ = await asyncio.gather(
        asyncio.gather(*(tenant.store.find_api_key(DIGEST) for _ in range(50))),
        *(tenant.do(identify(f"user-{number}")) for number in range(50)),
        *(tenant.whose(f"user-{number}") for number in range(50)),
    )
    assert all(found)


async def test_closing_finishes_what_waits(backend: Backend, tenant: Tenant) -> None:
    changes = [asyncio.ensure_future(tenant.do(identify(f"user-{number}"))) for number in range(700)]
    reads = [asyncio.ensure_future(tenant.whose(f"user-{number}")) for number in range(700)]
    await asyncio.sleep(0)
    assert await backend.close() == []
    assert all(task.done() for task in changes + reads)
    await asyncio.gather(*changes, *reads)


async def test_a_closed_store_is_unavailable_and_stays_closed(backend: Backend, tenant: Tenant) -> None:
    await tenant.do(identify("ann"))
    await backend.close()
    store = tenant.store
    for late in (
        store.transact(tenant.workspace, [identify("bob")], Caller(b"key", "request")),
        store.resolve(tenant.workspace, [id_of("ann")], None),
        store.read_profile(tenant.workspace, id_of("ann"), None, 10, None),
        store.find_api_key(DIGEST),
        store.add_first_api_key("default", FIRST),
    ):
        with pytest.raises(AkaError) as refusal:
            await late
        assert refusal.value.name == "STORE_UNAVAILABLE"
    await store.close()
