"""Bulk work makes room for the calls that come meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aka.server.domain.identifiers import id_of
from aka.server.methods import METHODS
from aka.server.service import (
    AT_ONCE,
    AT_ONCE_IN_COMPANY,
    LONGEST_REST,
    MAX_REST,
    REST,
    LinkBatch,
    Service,
    Session,
)
from aka.server.store.group import BULK
from aka.server.store.sqlite import SqliteStore
from aka.server.store.store import ApiKey, Workspace
from tests.domain.world import import_link

KEY = ApiKey(b"key", Workspace(1), "acme", "key", "aka_", frozenset(), 0, None, None, None)
MANY = [id_of(f"user-{number}") for number in range(4 * BULK + 1)]


def session(deadline: float | None = None) -> Session:
    return Session(METHODS["Resolve"], KEY, "request", deadline)


async def batches(*sizes: int) -> AsyncIterator[LinkBatch]:
    """Return links of new users, so many in a message."""
    for place, size in enumerate(sizes):
        yield LinkBatch([import_link(f"user-{place}-{number}") for number in range(size)], False)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    store = await SqliteStore.open(str(tmp_path / "aka.db"))
    await store._writer.run(
        lambda connection: connection.execute("INSERT INTO workspaces (id, name, created_at) VALUES (1, 'acme', 0)")
    )
    yield Service(store)
    await store.close()


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was rested, each time. Nobody really does."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        if seconds > 0:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", rest)
    return found


@pytest.fixture
def pieces(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many decisions each transaction had."""
    found: list[int] = []
    transact = service._store.transact

    async def seen(workspace: Workspace, decisions: Sequence[Any], by: Any) -> list[Any]:
        found.append(len(decisions))
        return await transact(workspace, decisions, by)

    monkeypatch.setattr(service._store, "transact", seen)
    return found


async def test_an_import_that_is_alone_does_not_rest(service: Service, rests: list[float], pieces: list[int]) -> None:
    imported = await service.import_links(session(), batches(AT_ONCE + 1, AT_ONCE))
    assert imported.received == 2 * AT_ONCE + 1
    assert pieces == [AT_ONCE, 1, AT_ONCE]
    assert rests == []


async def test_an_import_rests_for_the_calls_that_came_and_goes_on_in_smaller_pieces(
    service: Service, rests: list[float], pieces: list[int]
) -> None:
    importing = asyncio.ensure_future(service.import_links(session(), batches(3 * AT_ONCE)))
    await asyncio.gather(*(service.resolve(session(), [id_of("ann")]) for _ in range(5)))
    assert (await importing).received == 3 * AT_ONCE
    assert rests == [pytest.approx(5 * REST)]
    assert pieces == [AT_ONCE, AT_ONCE_IN_COMPANY, AT_ONCE, AT_ONCE - AT_ONCE_IN_COMPANY]


async def test_an_export_rests_for_the_calls_that_came(service: Service, rests: list[float]) -> None:
    await service.import_links(session(), batches(3))
    links = service.export_links(session(), None, 2)
    await asyncio.gather(anext(links), service.resolve(session(), [id_of("ann")]))
    assert rests == [pytest.approx(REST)]
    assert [len(page) async for page in links] == [1]
    assert rests == [pytest.approx(REST)]


async def test_a_large_resolve_rests_for_small_ones_and_not_for_large_ones(
    service: Service, rests: list[float]
) -> None:
    await asyncio.gather(*(service.resolve(session(), MANY) for _ in range(3)))
    assert rests == []
    await asyncio.gather(service.resolve(session(), MANY), service.resolve(session(), [id_of("ann")]))
    assert rests == [pytest.approx(REST)]


async def test_a_large_resolve_from_memory_rests_for_the_calls_that_come_all_the_time(
    tmp_path: Path, rests: list[float]
) -> None:
    store = await SqliteStore.open(str(tmp_path / "kept.db"), kept_resolutions=100)
    await store._writer.run(
        lambda connection: connection.execute("INSERT INTO workspaces (id, name, created_at) VALUES (1, 'acme', 0)")
    )
    service = Service(store)
    await service.import_links(session(), batches(len(MANY)))
    linked = [id_of(f"user-0-{number}") for number in range(len(MANY))]
    await service.resolve(session(), linked)
    now = asyncio.get_running_loop().time()
    service._calls, service._counted = 10_000_000, ((now - 1.0, 0), (now, 10_000_000))
    hits = store._resolutions.measure().hits
    assert len(await service.resolve(session(), linked)) == len(linked)
    assert store._resolutions.measure().hits == hits + len(linked)
    assert rests == [pytest.approx(MAX_REST)]
    await store.close()


async def test_rests_follow_one_another(service: Service, rests: list[float]) -> None:
    await asyncio.gather(
        *(service.resolve(session(), MANY) for _ in range(2)), service.resolve(session(), [id_of("ann")])
    )
    assert len(rests) == 2
    assert REST < rests[1] <= 2 * REST
    assert rests[0] == pytest.approx(REST)


async def test_a_rest_has_an_end_however_many_calls_came(service: Service, rests: list[float]) -> None:
    calls = round(2 * MAX_REST / REST)
    await asyncio.gather(
        service.resolve(session(), MANY), *(service.resolve(session(), [id_of("ann")]) for _ in range(calls))
    )
    assert rests == [pytest.approx(MAX_REST)]


async def test_a_rest_has_an_end_however_many_others_rest(service: Service, rests: list[float]) -> None:
    for _ in range(3):
        await asyncio.gather(
            *(service.resolve(session(), MANY) for _ in range(10)),
            *(service.resolve(session(), [id_of("ann")]) for _ in range(round(MAX_REST / REST))),
        )
    assert max(rests) == pytest.approx(LONGEST_REST)


async def test_a_rest_ends_before_the_deadline(service: Service, rests: list[float]) -> None:
    deadline = asyncio.get_running_loop().time() + MAX_REST
    await asyncio.gather(
        service.resolve(session(deadline), MANY), *(service.resolve(session(), [id_of("ann")]) for _ in range(1000))
    )
    assert rests[0] <= MAX_REST / 2
