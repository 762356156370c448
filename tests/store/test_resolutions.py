"""What a SQLite store keeps in memory of whose keys are: never anything but what is committed."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aka.server.domain.changes import Identified, Merged, Unlinked
from aka.server.domain.identifiers import Key, id_of
from aka.server.errors import AkaError
from aka.server.metrics import CacheMetrics
from aka.server.store.resolutions import Resolutions
from aka.server.store.sqlite import FEW, SqliteStore
from aka.server.store.store import Living, Workspace, store_unavailable
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, delete_alias, identify, profile_id
from tests.store.tenant import Tenant

HERE, THERE = Workspace(1), Workspace(2)
ANN, BEN, EVE = id_of("ann"), id_of("ben"), id_of("eve")
ONE, TWO = Living(profile_id(1), "ann"), Living(profile_id(2), "ben")
A_MERGE = Merged(TWO.id, ONE.id, "ben", 0, 0, True)


def keeping(**found: Living) -> Resolutions:
    """Return resolutions of ids by their names."""
    kept = Resolutions(4)
    kept.keep(HERE, {id_of(name): living for name, living in found.items()})
    return kept


def told(kept: Resolutions, *keys: Key) -> list[Living | None]:
    """Return what is told of keys, and None for each that must be read."""
    found, missed = kept.find(HERE, keys)
    assert sorted([*found, *missed]) == sorted(keys)
    return [found.get(key) for key in keys]


# The keys that are kept.


def test_what_was_read_is_told() -> None:
    assert told(keeping(ann=ONE), ANN, BEN) == [ONE, None]


def test_a_workspace_is_told_nothing_of_another() -> None:
    assert keeping(ann=ONE).find(THERE, [ANN]) == ({}, [ANN])


def test_the_key_that_was_asked_for_longest_ago_goes_first() -> None:
    kept = keeping(a=ONE, b=ONE, c=ONE, d=ONE)
    told(kept, id_of("a"))
    kept.keep(HERE, {id_of("e"): ONE})
    assert told(kept, *map(id_of, "abcde")) == [ONE, None, ONE, ONE, ONE]


def test_as_many_profiles_are_known_as_keys_are_kept() -> None:
    kept = Resolutions(4)
    for number in range(100):
        kept.keep(HERE, {id_of(str(number)): Living(profile_id(number), None)})
    assert len(kept._known) == len(kept._kept) == 4


def test_hits_misses_and_size_are_counted() -> None:
    kept = keeping(ann=ONE)
    told(kept, ANN, BEN)
    told(kept, ANN)
    assert kept.measure() == CacheMetrics(hits=2, misses=1, size=1)


def test_a_merge_takes_all_keys_of_both_profiles_with_it() -> None:
    kept = keeping(ann=ONE, anna=ONE, ben=TWO, eve=Living(profile_id(3), "eve"))
    kept.move([(HERE, [A_MERGE])])
    kept.moved()
    assert told(kept, ANN, id_of("anna"), BEN) == [None, None, None]
    assert told(kept, EVE) != [None]


def test_a_key_of_a_profile_that_moved_is_not_told_when_that_is_read_by_another_key() -> None:
    kept = keeping(ann=ONE, anna=ONE)
    kept.move([(HERE, [Identified(ONE.id, ANN, False)])])
    kept.moved()
    kept.keep(HERE, {ANN: Living(ONE.id, "ann")})
    assert told(kept, ANN, id_of("anna")) == [ONE, None]


def test_an_unlinked_key_goes_and_its_profile_stays() -> None:
    kept = keeping(ann=ONE, anna=ONE)
    kept.move([(HERE, [Unlinked(ONE.id, ANN, ONE.id, False, 0)])])
    assert told(kept, ANN, id_of("anna")) == [None, ONE]


def test_nothing_that_moves_is_kept_before_it_has_moved() -> None:
    kept = Resolutions(4)
    kept.move([(HERE, [A_MERGE, Unlinked(ONE.id, ANN, ONE.id, False, 0)])])
    read: dict[Key, Living] = {
        ANN: Living(profile_id(3), None),
        BEN: TWO,
        EVE: ONE,
        id_of("joe"): Living(profile_id(4), ""),
    }
    kept.keep(HERE, read)
    assert kept.measure().size == 1
    kept.moved()
    kept.keep(HERE, read)
    assert kept.measure().size == 4


def test_while_it_is_suspended_nothing_is_told_or_kept() -> None:
    kept = keeping(ann=ONE)
    kept.suspend()
    kept.keep(HERE, {BEN: TWO})
    assert told(kept, ANN, BEN) == [None, None]
    kept.moved()
    kept.keep(HERE, {BEN: TWO})
    assert told(kept, ANN, BEN) == [None, TWO]


def test_the_version_is_another_when_something_moves_and_when_it_has_moved() -> None:
    kept = keeping(ann=ONE)
    versions = [kept.version]
    kept.move([(HERE, [A_MERGE])])
    versions.append(kept.version)
    for step in (kept.moved, kept.suspend, kept.moved):
        step()
        versions.append(kept.version)
    kept.moved()
    assert len(set(versions)) == 5
    assert kept.version == versions[-1]


# The store that keeps them.


@pytest.fixture
async def tenant(tmp_path: Path) -> AsyncIterator[Tenant]:
    store = await SqliteStore.open(str(tmp_path / "aka.db"), kept_resolutions=100)
    await store._writer.run(lambda connection: connection.execute("INSERT INTO workspaces VALUES (1, 'acme', 0)"))
    yield Tenant(store, Workspace(1))
    await store.close()


def kept_by(tenant: Tenant) -> Resolutions:
    assert isinstance(tenant.store, SqliteStore)
    return tenant.store._resolutions


@contextmanager
def no_commit(tenant: Tenant) -> Iterator[None]:
    """Hold up whatever is to be done on the writer's thread, which is where COMMIT is done."""
    assert isinstance(tenant.store, SqliteStore)
    released = threading.Event()
    held = asyncio.ensure_future(tenant.store._writer.run(lambda _: released.wait(60)))
    try:
        yield
    finally:
        released.set()
        held.add_done_callback(lambda done: done.result())


async def test_a_key_is_read_once_until_it_moves(tenant: Tenant) -> None:
    ann = await tenant.do(identify("ann"))
    ben = await tenant.do(identify("ben"))
    for _ in range(3):
        assert await tenant.whose("ben") == [ben.profile_id]
    assert kept_by(tenant).measure() == CacheMetrics(hits=2, misses=1, size=1)
    await tenant.do(alias("ann", "ben", v1.MERGE_POLICY_ALWAYS))
    for _ in range(3):
        assert await tenant.whose("ben") == [ann.profile_id]
    assert kept_by(tenant).measure() == CacheMetrics(hits=4, misses=2, size=1)


async def test_a_change_that_only_links_forgets_nothing(tenant: Tenant) -> None:
    ann = await tenant.do(identify("ann"))
    await tenant.whose("ann")
    await tenant.do(alias("ann", "anna"))
    await tenant.do(create_alias("browser-1"))
    assert await tenant.whose("ann") == [ann.profile_id]
    assert kept_by(tenant).measure().hits == 1


async def test_between_the_beginning_and_the_end_of_a_commit_a_key_is_what_it_was(tenant: Tenant) -> None:
    ann = await tenant.do(identify("ann"))
    ben = await tenant.do(identify("ben"))
    eve = await tenant.do(identify("eve"))
    await tenant.whose("ann", "ben", "eve")
    with no_commit(tenant):
        merging = asyncio.ensure_future(tenant.do(alias("ann", "ben", v1.MERGE_POLICY_ALWAYS)))
        version = kept_by(tenant).version
        for _ in range(100):  # more turns than a group takes to be decided
            await asyncio.sleep(0)
        assert kept_by(tenant).version != version
        assert await tenant.whose("ben", "ann", "eve") == [ben.profile_id, ann.profile_id, eve.profile_id]
        assert await tenant.whose("ben", "eve") == [ben.profile_id, eve.profile_id]
        assert kept_by(tenant).measure().hits == 2  # eve's
    await merging
    assert await tenant.whose("ben", "eve") == [ann.profile_id, eve.profile_id]


async def test_a_commit_that_fails_leaves_what_was(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await tenant.do(identify("ann"))
    await tenant.do(alias("ann", "anna"))
    await tenant.whose("anna")

    def failing(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise store_unavailable("the disk is full")

    monkeypatch.setattr("aka.server.store.sqlite_connection.commit", failing)
    with pytest.raises(AkaError, match="STORE_UNAVAILABLE"):
        await tenant.do(delete_alias("anna"))
    monkeypatch.undo()
    assert await tenant.whose("anna") == [ann.profile_id]


async def test_keys_are_told_of_one_moment_though_many_are_read_while_others_are_kept(tenant: Tenant) -> None:
    """A merge of what is kept lands between the look into memory and the read of the others."""
    ann = await tenant.do(identify("ann"))
    await tenant.do(identify("ben"))
    many = [id_of(f"other-{number}") for number in range(FEW + 1)]
    for other in many:
        await tenant.do(create_alias(other.name))
    await tenant.whose("ben")
    assert isinstance(tenant.store, SqliteStore)
    released = threading.Event()
    held = asyncio.ensure_future(tenant.store._reader.run(lambda _: released.wait(60)))
    reading = asyncio.ensure_future(tenant.whose("ben", *many, "ann"))
    await asyncio.sleep(0)
    await tenant.do(alias("ann", "ben", v1.MERGE_POLICY_ALWAYS))
    released.set()
    found = await reading
    await held
    assert found[0] == found[-1] == ann.profile_id
    assert await tenant.whose("ben") == [ann.profile_id]


async def test_a_heavy_change_is_seen_when_it_is_done(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aka.server.store.sqlite_groups.FEW", -1)  # every group is done on the writer's thread
    ann = await tenant.do(identify("ann"))
    ben = await tenant.do(identify("ben"))
    assert await tenant.whose("ben") == [ben.profile_id]
    await tenant.do(alias("ann", "ben", v1.MERGE_POLICY_ALWAYS))
    assert await tenant.whose("ben") == [ann.profile_id]


async def test_a_database_in_memory_keeps_nothing_twice() -> None:
    store = await SqliteStore.open(":memory:", kept_resolutions=100)
    await store._writer.run(lambda connection: connection.execute("INSERT INTO workspaces VALUES (1, 'acme', 0)"))
    tenant = Tenant(store, Workspace(1))
    await tenant.do(identify("ann"))
    await tenant.whose("ann")
    assert kept_by(tenant).measure().size == 0
    await store.close()
