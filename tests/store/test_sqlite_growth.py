"""How the store's work grows, counted in the steps that SQLite takes, which are the same on any machine."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from aka.server.domain.identifiers import id_of
from aka.server.domain.rules import Rules
from aka.server.store.sqlite import SqliteStore
from aka.server.store.store import Workspace
from aka.v1 import alias_service_pb2 as v1
from benchmarks.generate import generate
from tests.domain.world import alias, create_alias, delete_alias, happen, identify, import_link, pair, track
from tests.store.clock import Clock
from tests.store.tenant import Tenant

Work = Callable[[Tenant], Awaitable[Any]]

ALWAYS: Final = v1.MERGE_POLICY_ALWAYS
FEW, MANY = 200, 6_000


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[list[int]]:
    """The steps that SQLite has taken on all connections, in `[0]`. The clock stands, since some work is done by it."""
    taken = [0]

    def count() -> int:
        taken[0] += 1
        return 0

    connect = sqlite3.connect

    def counted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_progress_handler(count, 1)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counted)
    yield taken


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Tenant]:
    store = await SqliteStore.open(str(file))
    try:
        yield Tenant(store, Workspace(1))
    finally:
        await store.close()


async def took(steps: list[int], tenant: Tenant, work: Work) -> int:
    """Return the steps of some work."""
    before = steps[0]
    await work(tenant)
    return steps[0] - before


PEOPLE: Final = ["ann", "bob", "card", "cid", "cookie", "dan", "dan-card", "eve", "fay", "new"]

WORK: Final[dict[str, Work]] = {
    "a new user with an alias": lambda tenant: tenant.do(alias("new", "card", create_missing=True)),
    "an alias of a known user": lambda tenant: tenant.do(alias("ann", "ann-card")),
    "an alias that is there already": lambda tenant: tenant.do(alias("ann", "ann-card")),
    "a refusal": lambda tenant: tenant.refused(alias("ann", "bob")),
    "a user alias": lambda tenant: tenant.do(create_alias(pair("crm", "ann"), "ann")),
    "a user": lambda tenant: tenant.do(identify("eve")),
    "an anonymous user who is identified": lambda tenant: tenant.do(identify("fay", "cookie")),
    "a merge": lambda tenant: tenant.do(alias("bob", "ann", ALWAYS)),
    "a merge of a profile with a tombstone": lambda tenant: tenant.do(alias("cid", "bob", ALWAYS)),
    "an alias that is taken away": lambda tenant: tenant.do(delete_alias("ann-card")),
    "an imported link": lambda tenant: tenant.do(import_link("dan", "dan-card")),
    "attributes": lambda tenant: tenant.do(track("cid", {"plan": "free"}, "token")),
    "an event": lambda tenant: tenant.do(happen("cid", "seen")),
    "one id looked up": lambda tenant: tenant.whose("ann"),
    "an unknown id looked up": lambda tenant: tenant.whose("nobody"),
    "many ids looked up": lambda tenant: tenant.whose(*PEOPLE),
    "a page of a profile": lambda tenant: tenant.page("ann", limit=2),
    "a profile's data": lambda tenant: tenant.data("ann", limit=2),
    "a page of an export": lambda tenant: tenant.links(limit=10),
    "a later page of an export": lambda tenant: tenant.links(id_of("id-00000100"), limit=10),
}
"""What is done, in order, to people who are not among the generated ones."""


async def test_no_work_grows_with_the_database(tmp_path: Path, steps: list[int]) -> None:
    taken: list[dict[str, int]] = []
    for size in (FEW, MANY):
        generate(file := tmp_path / f"{size}.db", size)
        async with opened(file) as tenant:
            await tenant.batch(*map(identify, ["ann", "bob", "cid", "dan"]), create_alias("cookie"))
            taken.append({name: await took(steps, tenant, work) for name, work in WORK.items()})
    few, many = taken
    assert all(few.values()), "every piece of work takes steps"
    assert many == few


LARGE_PROFILE: Final[dict[str, Work]] = {
    "an alias": lambda tenant: tenant.do(alias("ann", "card")),
    "one id looked up": lambda tenant: tenant.whose("ann-2"),
    "a page": lambda tenant: tenant.page("ann", limit=2),
    "a later page": lambda tenant: tenant.page("ann", id_of("ann-1"), limit=2),
    "an alias that is taken away": lambda tenant: tenant.do(delete_alias("ann-2")),
    "a merge into it": lambda tenant: tenant.do(alias("ann", "bob", ALWAYS)),
    "a merge of it": lambda tenant: tenant.do(alias("cid", "ann", ALWAYS)),
}


async def test_no_work_on_a_profile_grows_with_its_identifiers(tmp_path: Path, steps: list[int]) -> None:
    taken: list[dict[str, int]] = []
    for size in (5, 500):
        async with opened(tmp_path / f"{size}.db") as tenant:
            await add_workspace(tenant)
            await tenant.batch(*map(identify, ["ann", "bob", "cid"]))
            await tenant.batch(*(alias("ann", f"ann-{number}") for number in range(size)))
            taken.append({name: await took(steps, tenant, work) for name, work in LARGE_PROFILE.items()})
    few, many = taken
    assert many == few


async def test_an_alias_beyond_the_cap_is_refused_with_no_more_work_than_one_below_it(
    tmp_path: Path, steps: list[int]
) -> None:
    rules = Rules(max_identifiers=300)
    async with opened(tmp_path / "aka.db") as tenant:
        await add_workspace(tenant)
        await tenant.batch(identify("ann"), *(alias("ann", f"ann-{number}") for number in range(298)))
        linked = await took(steps, tenant, lambda tenant: tenant.do(alias("ann", "last", rules=rules)))
        refused = await took(steps, tenant, lambda tenant: tenant.refused(alias("ann", "one-too-many", rules=rules)))
        assert await tenant.refused(alias("ann", "one-too-many", rules=rules)) == "TOO_MANY_IDENTIFIERS"
    assert refused < linked


async def merge_with_tombstones(file: Path, steps: list[int], tombstones: int) -> int:
    """Return the steps of a merge of a profile with so many tombstones."""
    async with opened(file) as tenant:
        await add_workspace(tenant)
        await tenant.batch(*map(identify, ["ann", "bob"]))
        cookies = [f"cookie-{number}" for number in range(tombstones)]
        await tenant.batch(*map(create_alias, cookies))
        await tenant.batch(*(alias("bob", cookie) for cookie in cookies))
        return await took(steps, tenant, lambda tenant: tenant.do(alias("ann", "bob", ALWAYS)))


async def test_a_merge_is_linear_in_its_tombstones(tmp_path: Path, steps: list[int]) -> None:
    none, some, many = [
        await merge_with_tombstones(tmp_path / f"{tombstones}.db", steps, tombstones) for tombstones in (0, 50, 150)
    ]
    each = (some - none) / 50
    assert each > 0, "tombstones are pointed at the survivor"
    assert many - none <= 1.1 * 150 * each


async def test_a_batch_of_merges_takes_no_more_than_as_many_merges(tmp_path: Path, steps: list[int]) -> None:
    async with opened(tmp_path / "aka.db") as tenant:
        await add_workspace(tenant)
        for side in ("left", "right"):
            await tenant.batch(*(identify(f"{side}-{number}") for number in range(60)))
        decisions = [alias(f"left-{number}", f"right-{number}", ALWAYS) for number in range(60)]
        one = await took(steps, tenant, lambda tenant: tenant.do(decisions[0]))
        fifty = await took(steps, tenant, lambda tenant: tenant.batch(*decisions[1:51]))
    assert fifty <= 50 * one


async def add_workspace(tenant: Tenant) -> None:
    assert isinstance(tenant.store, SqliteStore)
    await tenant.store._writer.run(
        lambda connection: connection.execute("INSERT INTO workspaces VALUES (1, 'acme', 0)")
    )
