"""Keys and workspaces: what every store promises of them."""

import asyncio
import hashlib
from collections.abc import Awaitable
from typing import Any

import pytest
import uuid_utils

from aka.server.errors import AkaError
from aka.server.store.store import ApiKey, NewApiKey, Store, Workspace
from tests.domain.world import identify
from tests.store.backends import Backend
from tests.store.clock import Clock
from tests.store.tenant import Tenant

UNKNOWN = b"\xff" * 16


def new_key(name: str = "crm", *permissions: str, expires_at: int | None = None) -> NewApiKey:
    key_id = uuid_utils.uuid7().bytes
    return NewApiKey(key_id, hashlib.sha256(key_id).digest(), name, "aka_1234", permissions, expires_at)


async def refusal(asked: Awaitable[Any]) -> str:
    with pytest.raises(AkaError) as refused:
        await asked
    return refused.value.name


async def names(store: Store, workspace: Workspace, after: bytes = b"", limit: int = 100) -> list[str]:
    return [key.name for key in await store.list_api_keys(workspace, after, limit)]


async def test_a_key_is_added_as_it_is_given(tenant: Tenant, clock: Clock) -> None:
    new = new_key("crm", "profiles.read", "operator", expires_at=clock.now + 1)
    added = await tenant.store.add_api_key(tenant.workspace, new)
    assert added == ApiKey(
        id=new.id,
        workspace=tenant.workspace,
        workspace_name="acme",
        name="crm",
        prefix="aka_1234",
        permissions=frozenset({"profiles.read", "operator"}),
        created_at=clock.now,
        last_used_at=None,
        expires_at=clock.now + 1,
        revoked_at=None,
    )
    assert await tenant.store.find_api_key(new.digest) == added
    assert list(await tenant.store.list_api_keys(tenant.workspace, b"", 100)) == [added]


async def test_keys_are_listed_by_their_ids_in_pages(tenant: Tenant) -> None:
    new = [new_key(str(number)) for number in range(5)]
    for key in reversed(new):
        await tenant.store.add_api_key(tenant.workspace, key)
    new.sort()
    for after, limit, page in [
        (b"", 2, new[:2]),
        (new[1].id, 2, new[2:4]),
        (new[3].id, 2, new[4:]),
        (new[4].id, 2, []),
    ]:
        assert await names(tenant.store, tenant.workspace, after, limit) == [key.name for key in page]


async def test_a_workspace_lists_no_others_keys(tenant: Tenant, other_tenant: Tenant) -> None:
    await tenant.store.add_api_key(tenant.workspace, new_key("mine"))
    await tenant.store.add_api_key(other_tenant.workspace, new_key("theirs"))
    assert await names(tenant.store, tenant.workspace) == ["mine"]


async def test_a_key_is_revoked_once(tenant: Tenant, clock: Clock) -> None:
    key = new_key()
    await tenant.store.add_api_key(tenant.workspace, key)
    first = await tenant.store.revoke_api_key(key.id, None)
    clock.now += 1
    again = await tenant.store.revoke_api_key(key.id, tenant.workspace)
    assert (first.revoked_at, again) == (clock.now - 1, first)
    assert await tenant.store.find_api_key(key.digest) == first


async def test_a_key_is_revoked_within_its_workspace_alone(tenant: Tenant, other_tenant: Tenant) -> None:
    key = new_key()
    await tenant.store.add_api_key(tenant.workspace, key)
    assert await refusal(tenant.store.revoke_api_key(key.id, other_tenant.workspace)) == "KEY_NOT_FOUND"
    found = await tenant.store.find_api_key(key.digest)
    assert found is not None
    assert found.revoked_at is None


async def test_a_key_that_is_not_there_cannot_be_revoked(store: Store) -> None:
    assert await refusal(store.revoke_api_key(UNKNOWN, None)) == "KEY_NOT_FOUND"


@pytest.mark.parametrize("other", ["none", "revoked", "expired", "of other permissions", "good"])
async def test_an_operator_key_is_revoked_where_another_is_good(tenant: Tenant, clock: Clock, other: str) -> None:
    store = tenant.store
    key = new_key("first", "operator")
    await store.add_api_key(tenant.workspace, key)
    if other != "none":
        permissions = ("keys.admin", "cooperator") if other == "of other permissions" else ("operator", "profiles.read")
        second = new_key("second", *permissions, expires_at=clock.now if other == "expired" else None)
        await store.add_api_key(tenant.workspace, second)
        if other == "revoked":
            await store.revoke_api_key(second.id, None)
    if other == "good":
        assert (await store.revoke_api_key(key.id, None)).revoked_at == clock.now
    else:
        assert await refusal(store.revoke_api_key(key.id, None)) == "LAST_OPERATOR_KEY"


async def test_of_operator_keys_that_are_revoked_at_once_one_stays(tenant: Tenant) -> None:
    made = [new_key(str(number), "operator") for number in range(10)]
    for key in made:
        await tenant.store.add_api_key(tenant.workspace, key)
    revoking = (tenant.store.revoke_api_key(key.id, None) for key in made)
    results = await asyncio.gather(*revoking, return_exceptions=True)
    assert [str(result)[:17] for result in results if isinstance(result, Exception)] == ["LAST_OPERATOR_KEY"]


async def test_the_latest_use_of_a_key_is_kept(tenant: Tenant) -> None:
    key = new_key()
    await tenant.store.add_api_key(tenant.workspace, key)
    for at in (5, 9, 7):
        await tenant.store.note_api_key_uses({key.id: at, UNKNOWN: at})
    found = await tenant.store.find_api_key(key.digest)
    assert found is not None
    assert found.last_used_at == 9


async def test_a_workspace_is_added_with_its_first_key(store: Store, clock: Clock) -> None:
    first = await store.add_workspace("acme", new_key("first", "keys.admin"))
    assert await store.find_workspace("acme") == first.workspace
    assert [(found.name, found.created_at) for found in await store.list_workspaces("", 10)] == [("acme", clock.now)]
    assert await names(store, first.workspace) == ["first"]
    await Tenant(store, first.workspace).do(identify("ann"))


async def test_a_workspace_whose_name_is_taken_is_not_added(tenant: Tenant) -> None:
    key = new_key()
    assert await refusal(tenant.store.add_workspace("acme", key)) == "WORKSPACE_EXISTS"
    assert await tenant.store.find_api_key(key.digest) is None


async def test_a_workspace_that_is_not_there_is_not_found(tenant: Tenant) -> None:
    assert await tenant.store.find_workspace("ACME") is None


async def test_workspaces_are_listed_by_their_names_bytes_in_pages(store: Store) -> None:
    for name in ("b", "\u00e9", "B", "a", "\U0001f600", "\ufb01"):
        await store.add_workspace(name, new_key())
    listed, after = [], ""
    while page := [found.name for found in await store.list_workspaces(after, 4)]:
        listed.append(page)
        after = page[-1]
    assert listed == [["B", "a", "b", "\u00e9"], ["\ufb01", "\U0001f600"]]


async def test_keys_and_changes_of_the_graph_are_written_together(tenant: Tenant) -> None:
    made = [new_key(str(number)) for number in range(20)]
    await asyncio.gather(
        *(tenant.store.add_api_key(tenant.workspace, key) for key in made),
        *(tenant.do(identify(f"user-{number}")) for number in range(20)),
        *(tenant.store.revoke_api_key(UNKNOWN, None) for _ in range(5)),
        return_exceptions=True,
    )
    assert len(await names(tenant.store, tenant.workspace)) == 20
    assert None not in await tenant.whose(*(f"user-{number}" for number in range(20)))


async def test_a_closed_store_is_unavailable(backend: Backend, tenant: Tenant) -> None:
    await backend.close()
    for late in (
        tenant.store.add_api_key(tenant.workspace, new_key()),
        tenant.store.list_api_keys(tenant.workspace, b"", 1),
        tenant.store.revoke_api_key(UNKNOWN, None),
        tenant.store.note_api_key_uses({UNKNOWN: 1}),
        tenant.store.find_workspace("acme"),
        tenant.store.add_workspace("umbrella", new_key()),
        tenant.store.list_workspaces("", 1),
    ):
        assert await refusal(late) == "STORE_UNAVAILABLE"
