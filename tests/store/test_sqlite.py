"""The SQLite file: its one owner, its connections, its migrations, and what happens when it fails."""

import asyncio
import contextlib
import fcntl
import inspect
import os
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import aiosqlite
import pytest

from aka.server.domain.changes import Change
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, Key, ProfileId, id_of
from aka.server.errors import AkaError
from aka.server.keys import PERMISSIONS
from aka.server.store import sqlite_migrations
from aka.server.store.sqlite import SqliteStore
from aka.server.store.sqlite_check import check_file
from aka.server.store.sqlite_connection import Connection
from aka.server.store.sqlite_file import own
from aka.server.store.sqlite_groups import FEW
from aka.server.store.sqlite_migrations import migrate_file, migrations, pending
from aka.server.store.store import ANSWERS_ARE_KEPT_FOR, AnsweredBefore, Caller, CannotOpen, NewApiKey, Once, Workspace
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, delete_alias, identify, pair
from tests.store.clock import Clock
from tests.store.tenant import Tenant


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a database is to be."""
    return tmp_path / "aka.db"


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Tenant]:
    """Open a store, and make a tenant where there is none."""
    store = await SqliteStore.open(str(file))
    try:
        await store._writer.run(
            lambda connection: connection.execute("INSERT OR IGNORE INTO workspaces VALUES (1, 'acme', 0)")
        )
        yield Tenant(store, Workspace(1))
    finally:
        await store.close()


@pytest.fixture
async def tenant(file: Path) -> AsyncIterator[Tenant]:
    """A tenant of a store in a file that is in order at the end."""
    async with opened(file) as tenant:
        yield tenant
    assert check_file(str(file)).faults == []


def connections(tenant: Tenant) -> tuple[Connection, Connection]:
    """Return the store's writer and reader."""
    store = tenant.store
    assert isinstance(store, SqliteStore)
    return store._writer, store._reader


async def ask(connection: Connection, statement: str, *values: Any) -> Any:
    """Run a statement on a connection and return the first column of its first row."""
    row = await connection.run(lambda sqlite: sqlite.execute(statement, values).fetchone())
    return None if row is None else row[0]


def modes(file: Path) -> list[int]:
    """Return how each descriptor that this process has of a file is open."""
    found = []
    for descriptor in range(1024):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                found.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
    return sorted(found)


async def refusal(asked: Awaitable[Any]) -> str:
    """Return the reason for which something is refused."""
    with pytest.raises(AkaError) as refused:
        await asked
    return refused.value.name


async def cannot_open(file: Path) -> str:
    """Return why a file cannot be opened."""
    try:
        store = await SqliteStore.open(str(file))
    except CannotOpen as refused:
        assert "\n" not in str(refused)
        return str(refused)
    await store.close()
    raise AssertionError("it was opened")


# The connections.


@pytest.mark.parametrize(
    ("setting", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 0)]
)
async def test_the_writer_has_the_settings_that_durability_rests_on(tenant: Tenant, setting: str, value: Any) -> None:
    writer, _ = connections(tenant)
    assert await ask(writer, f"PRAGMA {setting}") == value


async def test_the_reader_cannot_write(tenant: Tenant) -> None:
    _, reader = connections(tenant)
    writing = ask(reader, "INSERT INTO workspaces (name, created_at) VALUES ('x', 0)")
    assert await refusal(writing) == "STORE_UNAVAILABLE"


async def test_the_reader_works_on_after_it_was_told_to_write(tenant: Tenant) -> None:
    _, reader = connections(tenant)
    await refusal(ask(reader, "DELETE FROM workspaces"))
    made = await tenant.do(identify("ann"))
    assert await tenant.whose("ann") == [made.profile_id]


async def test_one_descriptor_of_the_file_is_open_for_writing(tenant: Tenant, file: Path) -> None:
    await tenant.do(identify("ann"))
    await tenant.whose("ann")
    assert modes(file).count(os.O_RDWR) == 1
    assert set(modes(file)) == {os.O_RDONLY, os.O_RDWR}


async def test_in_memory_the_writer_reads() -> None:
    store = await SqliteStore.open(":memory:")
    assert store._reader is store._writer
    await store.close()


def test_aiosqlite_has_the_private_parts_that_one_hop_a_group_needs() -> None:
    # Its public methods hop to the connection's thread once a statement. A group is one function on that thread, run
    # by `_execute` over the bare connection `_conn`: where an upgrade takes them away, this says so first.
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute)
    assert list(inspect.signature(aiosqlite.Connection._execute).parameters)[:2] == ["self", "fn"]
    assert isinstance(inspect.getattr_static(aiosqlite.Connection, "_conn"), property)
    assert isinstance(aiosqlite.connect(":memory:")._thread, Thread)  # joined where it could not connect


async def test_a_function_runs_on_the_connections_thread_in_one_piece(tenant: Tenant) -> None:
    writer, _ = connections(tenant)
    threads = await asyncio.gather(*(writer.run(lambda _: threading.get_ident()) for _ in range(5)))
    assert len(set(threads)) == 1


class Where(NamedTuple):
    """A decision whose answer is the thread that it is made on."""

    keys: tuple[Key, ...] = ()
    labels_of: Identifier | None = None

    def decide(self, graph: Graph) -> tuple[int, tuple[Change, ...]]:
        return threading.get_ident(), ()


async def test_a_group_is_decided_on_the_event_loops_thread(tenant: Tenant) -> None:
    where, *_ = await tenant.batch(Where(), *(create_alias(f"x{number}") for number in range(100)))
    assert where == threading.get_ident()


async def test_a_group_that_would_load_many_labels_leaves_the_event_loops_thread(tenant: Tenant) -> None:
    for user, half in (("ann", "a"), ("bob", "b")):
        await tenant.do(identify(user))
        await tenant.batch(*(create_alias(pair(f"{half}{number}", "1"), user) for number in range(FEW // 2 + 1)))
    where, merged = await tenant.batch(Where(), alias("ann", "bob", v1.MERGE_POLICY_ALWAYS))
    assert (where != threading.get_ident(), merged.outcome) == (True, v1.OUTCOME_MERGED)


async def test_a_group_that_would_point_many_tombstones_leaves_the_event_loops_thread(tenant: Tenant) -> None:
    many = [f"x{number}" for number in range(FEW + 1)]
    await tenant.do(identify("ann"))
    await tenant.batch(*map(create_alias, many))
    where, *merged = await tenant.batch(Where(), *(alias("ann", name) for name in many))
    assert (where != threading.get_ident(), {each.outcome for each in merged}) == (True, {v1.OUTCOME_MERGED})
    assert (await tenant.header("ann")).tombstones == len(many)


# One owner.


async def test_a_second_owner_of_a_file_is_refused(tenant: Tenant, file: Path) -> None:
    assert "another aka process" in await cannot_open(file)
    assert (await tenant.do(identify("ann"))).outcome == v1.OUTCOME_CREATED


async def test_a_second_owner_by_another_name_of_the_file_is_refused(tenant: Tenant, file: Path) -> None:
    link = file.with_name("link.db")
    link.symlink_to(file)
    assert "another aka process" in await cannot_open(link)
    assert (await tenant.do(identify("ann"))).outcome == v1.OUTCOME_CREATED


async def test_a_file_that_was_closed_can_be_opened_again(file: Path) -> None:
    async with opened(file) as tenant:
        made = await tenant.do(identify("ann"))
    async with opened(file) as tenant:
        assert await tenant.whose("ann") == [made.profile_id]


async def test_a_file_that_was_refused_is_not_kept_locked(file: Path) -> None:
    _write(file, RUBBISH)
    await cannot_open(file)
    owner = own(str(file))
    assert owner is not None
    owner.release()


async def test_closing_leaves_one_file_with_everything_in_it(file: Path) -> None:
    async with opened(file) as tenant:
        await tenant.do(identify("ann"))
    assert sorted(each.name for each in file.parent.iterdir()) == ["aka.db", "aka.db.lock"]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM identifiers").fetchall() == [("ann",)]


async def test_what_was_acknowledged_is_in_the_file_before_it_is_closed(file: Path, tmp_path: Path) -> None:
    async with opened(file) as tenant:
        await tenant.together(*(identify(f"user-{number}") for number in range(100)))
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for part in ("aka.db", "aka.db-wal"):
            (crashed / part).write_bytes((tmp_path / part).read_bytes())
    with closing(sqlite3.connect(crashed / "aka.db")) as connection:
        assert connection.execute("SELECT count(*) FROM identifiers").fetchone() == (100,)


# What cannot be opened.


RUBBISH = b"no database" * 1000


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def _read(file: Path) -> bytes:
    return file.read_bytes()


def _is_there(file: Path) -> bool:
    return file.exists()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    message = await cannot_open(tmp_path / "missing" / "aka.db")
    assert message.endswith(f"the folder {tmp_path / 'missing'} does not exist")


async def test_a_folder_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    assert "Is a directory" in await cannot_open(tmp_path / "folder.db")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    _write(file, RUBBISH)
    assert "file is not a database" in await cannot_open(file)
    assert _read(file) == RUBBISH


async def test_somebody_elses_database_is_refused_and_left_alone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = _read(file)
    assert "tables that are not aka's" in await cannot_open(file)
    assert _read(file) == before


async def test_a_database_from_the_future_is_refused_and_left_alone(file: Path) -> None:
    async with opened(file):
        pass
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO migrations VALUES (9999, 'later', 0)")
    before = _read(file)
    message = await cannot_open(file)
    assert "from a newer aka (migration 9999" in message
    assert _read(file) == before


async def test_an_empty_file_becomes_a_database(file: Path) -> None:
    _write(file, b"")
    async with opened(file) as tenant:
        assert (await tenant.do(identify("ann"))).outcome == v1.OUTCOME_CREATED


async def test_a_path_with_characters_that_mean_something_in_a_uri_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "a b?mode=ro#%41&.db"
    async with opened(file) as tenant:
        await tenant.do(identify("ann"))
    assert _is_there(file)


# Migrations.


def applied(file: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def later(monkeypatch: pytest.MonkeyPatch, *added: tuple[int, str, str]) -> None:
    """Let aka come with more migrations."""
    known = [*migrations(), *added]
    monkeypatch.setattr(sqlite_migrations, "migrations", lambda: known)


def test_migrations_are_numbered_from_1_on() -> None:
    assert [number for number, _, _ in migrations()] == list(range(1, len(migrations()) + 1))


async def test_a_new_file_gets_every_migration(file: Path) -> None:
    async with opened(file):
        pass
    assert applied(file) == [(number, name) for number, name, _ in migrations()]


async def test_a_migration_is_applied_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, (9001, "fill", "CREATE TABLE IF NOT EXISTS filled (x); INSERT INTO filled VALUES (1)"))
    for _ in range(3):
        async with opened(file):
            pass
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM filled").fetchone() == (1,)


async def test_migrations_are_applied_in_order(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, (9001, "make", "CREATE TABLE one (x)"), (9002, "rename", "ALTER TABLE one RENAME TO two"))
    async with opened(file):
        pass
    assert "two" in tables(file)
    assert [number for number, _ in applied(file)][-2:] == [9001, 9002]


BROKEN = (9002, "broken", "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1)")


async def test_a_key_that_held_every_permission_gets_the_new_ones_and_another_does_not(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = "aliases.write keys.admin operator profiles.merge profiles.read"
    with monkeypatch.context() as before:
        before.setattr(sqlite_migrations, "migrations", lambda: migrations()[:1])
        migrate_file(str(file), apply=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO workspaces VALUES (1, 'acme', 0)")
        for name, permissions in (("first", everything), ("other", "aliases.write profiles.read")):
            connection.execute(
                "INSERT INTO api_keys VALUES (?, 1, ?, ?, '', ?, 0, NULL, NULL, NULL)",
                (name.encode(), name.encode(), name, permissions),
            )
    migrate_file(str(file), apply=True)
    with closing(sqlite3.connect(file)) as connection:
        held = dict(connection.execute("SELECT name, permissions FROM api_keys").fetchall())
    assert {name: set(permissions.split()) for name, permissions in held.items()} == {
        "first": PERMISSIONS,
        "other": {"aliases.write", "profiles.read"},
    }


async def test_a_broken_migration_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, BROKEN)
    assert "no such table: nowhere" in await cannot_open(file)
    assert "half" not in tables(file)
    assert applied(file) == [(number, name) for number, name, _ in migrations() if number < 9000]


async def test_the_migrations_before_a_broken_one_stay(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, (9001, "good", "CREATE TABLE good (x)"), BROKEN, (9003, "after", "CREATE TABLE after (x)"))
    await cannot_open(file)
    assert "good" in tables(file)
    assert "after" not in tables(file)
    assert applied(file)[-1] == (9001, "good")


async def test_a_broken_migration_is_applied_once_it_is_mended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        later(broken, BROKEN)
        await cannot_open(file)
    later(monkeypatch, (9002, "mended", "CREATE TABLE whole (x)"))
    async with opened(file) as tenant:
        await tenant.do(identify("ann"))
    assert applied(file)[-1] == (9002, "mended")


async def test_migrations_can_be_listed_without_being_applied(file: Path) -> None:
    assert migrate_file(str(file), apply=False) == migrations()
    assert not _is_there(file)
    assert migrate_file(str(file), apply=True) == migrations()
    assert migrate_file(str(file), apply=False) == []


async def test_migrating_a_file_that_is_served_is_refused(tenant: Tenant, file: Path) -> None:
    with pytest.raises(CannotOpen, match="another aka process"):
        migrate_file(str(file), apply=True)
    assert (await tenant.do(identify("ann"))).outcome == v1.OUTCOME_CREATED


def test_nothing_is_pending_where_all_is_applied(file: Path) -> None:
    migrate_file(str(file), apply=True)
    with closing(sqlite3.connect(file)) as connection:
        assert pending(connection) == []


# Outages.


@contextmanager
def locked(file: Path, how: str) -> Iterator[None]:
    """Let another connection hold the file."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_locked_file_is_unavailable_and_nothing_is_changed(tenant: Tenant, file: Path, how: str) -> None:
    with locked(file, how):
        assert await refusal(tenant.do(identify("ann"))) == "STORE_UNAVAILABLE"
    assert await tenant.whose("ann") == [None]


async def test_nothing_else_waits_while_a_change_waits_for_a_locked_file(tenant: Tenant, file: Path) -> None:
    turns = 0
    with locked(file, "IMMEDIATE"):
        change = asyncio.ensure_future(refusal(tenant.do(identify("ann"))))
        while not change.done():
            await asyncio.sleep(0.01)
            turns += 1
    assert change.result() == "STORE_UNAVAILABLE"
    assert turns > 3


async def test_a_change_waits_for_a_file_that_is_locked_for_a_moment(tenant: Tenant, file: Path) -> None:
    with locked(file, "IMMEDIATE"):
        change = asyncio.ensure_future(tenant.do(identify("ann")))
        await asyncio.sleep(0.05)
    made = await change
    assert await tenant.whose("ann") == [made.profile_id]


async def test_all_works_once_a_locked_file_is_released(tenant: Tenant, file: Path) -> None:
    with locked(file, "IMMEDIATE"):
        await refusal(tenant.do(identify("ann")))
    made = await tenant.do(identify("ann"))
    assert await tenant.whose("ann") == [made.profile_id]


async def test_reads_go_on_while_a_file_is_locked(tenant: Tenant, file: Path) -> None:
    made = await tenant.do(identify("ann"))
    with locked(file, "IMMEDIATE"):
        assert await tenant.whose("ann") == [made.profile_id]
        assert await tenant.store.find_api_key(b"x") is None


async def test_a_first_key_that_meets_a_locked_file_is_unavailable(tenant: Tenant, file: Path) -> None:
    with locked(file, "IMMEDIATE"):
        adding = tenant.store.add_first_api_key("acme", NewApiKey(b"key", b"x", "bootstrap", "", []))
        assert await refusal(adding) == "STORE_UNAVAILABLE"
    assert await tenant.store.find_api_key(b"x") is None


async def test_a_locked_file_cannot_be_opened(file: Path) -> None:
    migrate_file(str(file), apply=True)  # in a rollback journal, where EXCLUSIVE keeps readers out too
    with locked(file, "EXCLUSIVE"):
        assert "database is locked" in await cannot_open(file)


async def fill(tenant: Tenant, refused: Callable[[str], None]) -> dict[str, ProfileId]:
    """Make users until one is refused, and return those that were acknowledged."""
    made: dict[str, ProfileId] = {}
    for number in range(10_000):
        names = [f"user-{number}-{place}-{'x' * 300}" for place in range(10)]
        results = await asyncio.gather(*(tenant.batch(identify(name)) for name in names), return_exceptions=True)
        for name, result in zip(names, results, strict=True):
            if isinstance(result, AkaError):
                refused(result.name)
            else:
                assert isinstance(result, list)
                made[name] = result[0].profile_id
        if len(made) < 10 * (number + 1):
            return made
    raise AssertionError("nothing was refused")


async def limit_pages(tenant: Tenant, spare: int) -> None:
    """Let SQLite find the disk full once the file has so many pages more."""
    writer, _ = connections(tenant)
    await ask(writer, f"PRAGMA max_page_count = {await ask(writer, 'PRAGMA page_count') + spare}")


async def test_a_full_disk_is_unavailable(tenant: Tenant) -> None:
    await limit_pages(tenant, 20)
    reasons: set[str] = set()
    await fill(tenant, reasons.add)
    assert reasons == {"STORE_UNAVAILABLE"}


async def test_a_full_disk_loses_nothing_that_was_acknowledged(tenant: Tenant) -> None:
    await limit_pages(tenant, 20)
    made = await fill(tenant, lambda _: None)
    assert len(made) >= 10
    assert await tenant.whose(*made) == list(made.values())


async def test_reads_go_on_while_the_disk_is_full(tenant: Tenant) -> None:
    made = await tenant.do(identify("ann"))
    await limit_pages(tenant, 0)
    await fill(tenant, lambda _: None)
    assert await tenant.whose("ann") == [made.profile_id]


async def test_all_works_once_there_is_room_again(tenant: Tenant) -> None:
    await limit_pages(tenant, 20)
    await fill(tenant, lambda _: None)
    await limit_pages(tenant, 1_000_000)
    made = await tenant.do(identify("after"))
    assert await tenant.whose("after") == [made.profile_id]


@contextmanager
def no_growth(file: Path) -> Iterator[None]:
    """Let the operating system refuse to write beyond the end of the write-ahead log.

    Of a commit's pages none then reaches the log, so COMMIT itself fails, with SQLITE_IOERR_WRITE.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.with_name(f"{file.name}-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_failed_commit_leaves_the_outcome_unknown(tenant: Tenant, file: Path) -> None:
    await tenant.do(identify("ann"))
    with no_growth(file):
        assert await refusal(tenant.do(identify("bob"))) == "OUTCOME_UNKNOWN"


async def test_a_failed_commit_is_told_to_every_caller_of_its_group(tenant: Tenant, file: Path) -> None:
    await tenant.do(identify("ann"))
    with no_growth(file):
        asked = [tenant.batch(identify(f"user-{number}")) for number in range(20)]
        results = await asyncio.gather(*asked, return_exceptions=True)
    assert {result.name for result in results if isinstance(result, AkaError)} == {"OUTCOME_UNKNOWN"}
    assert not [result for result in results if isinstance(result, list)]


async def test_a_call_whose_commit_failed_can_be_repeated(tenant: Tenant, file: Path) -> None:
    ann = await tenant.do(identify("ann"))
    with no_growth(file):
        await refusal(tenant.do(alias("ann", "card")))
    assert (await tenant.do(alias("ann", "card"))).outcome in {v1.OUTCOME_LINKED, v1.OUTCOME_ALREADY_LINKED}
    assert await tenant.whose("ann", "card") == [ann.profile_id, ann.profile_id]


async def test_the_connection_is_opened_anew_after_a_failed_commit(tenant: Tenant, file: Path) -> None:
    writer, _ = connections(tenant)
    await ask(writer, "CREATE TEMP TABLE of_this_connection (x)")
    await tenant.do(identify("ann"))
    with no_growth(file):
        await refusal(tenant.do(identify("bob")))
    assert await ask(writer, "SELECT count(*) FROM sqlite_temp_schema") == 0


async def test_a_connection_that_is_opened_anew_has_the_same_settings(tenant: Tenant, file: Path) -> None:
    writer, _ = connections(tenant)
    await tenant.do(identify("ann"))
    with no_growth(file):
        await refusal(tenant.do(identify("bob")))
    settings = [await ask(writer, f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert settings == ["wal", 2, 1]


async def test_a_commit_that_fails_loses_nothing_that_was_acknowledged(tenant: Tenant, file: Path) -> None:
    made = await tenant.batch(*(identify(f"user-{number}") for number in range(50)))
    with no_growth(file):
        for _ in range(3):
            await refusal(tenant.do(identify("bob")))
        assert await tenant.whose(*(f"user-{n}" for n in range(50))) == [answer.profile_id for answer in made]
    assert (await tenant.header("user-0")).identifiers == 1


async def test_a_damaged_page_is_unavailable(file: Path) -> None:
    async with opened(file) as tenant:
        await tenant.batch(*(identify(f"user-{number}") for number in range(500)))
    with closing(sqlite3.connect(file)) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'identifiers'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as damaged:
        damaged.seek((page - 1) * size)
        damaged.write(b"\xff" * size)
    async with opened(file) as tenant:
        assert await refusal(tenant.find("user-1")) == "STORE_UNAVAILABLE"
        assert await refusal(tenant.do(alias("user-1", "card"))) == "STORE_UNAVAILABLE"


async def test_a_profile_with_fewer_labels_than_its_counter_says_fails_its_caller_alone(file: Path) -> None:
    async with opened(file) as tenant:
        await tenant.batch(identify("ann"), create_alias(pair("crm", "1"), "ann"), identify("bob"))
        writer, _ = connections(tenant)
        await ask(writer, "UPDATE profiles SET user_aliases = 5 WHERE primary_id = 'ann'")
        calls = create_alias(pair("tax", "1"), "ann"), create_alias(pair("tax", "2"), "bob")
        results = await asyncio.gather(*map(tenant.batch, calls), return_exceptions=True)
        assert isinstance(results[0], RuntimeError)
        assert isinstance(results[1], list)


# Housekeeping.


async def test_answers_that_were_kept_long_enough_are_deleted_faster_than_they_come(
    tenant: Tenant, clock: Clock
) -> None:
    writer, _ = connections(tenant)

    async def one(number: int) -> None:
        once = Once(number.to_bytes(16), "Identify", b"", lambda _: b"answer")
        await tenant.store.transact(tenant.workspace, [identify("ann")], Caller(b"key", "request", once=once))

    for numbers in (range(500), range(500, 1000), range(1000, 1500)):
        await asyncio.gather(*map(one, numbers))
        clock.now += 1
    clock.now += ANSWERS_ARE_KEPT_FOR
    await tenant.do(identify("ann"))
    assert await ask(writer, "SELECT count(*) FROM answers") == 500
    await tenant.do(identify("ann"))
    assert await ask(writer, "SELECT count(*) FROM answers") == 0


async def test_an_answer_is_given_again_after_a_restart(file: Path) -> None:
    by = Caller(b"key", "request", once=Once(bytes(16), "Identify", b"", lambda _: b"answer"))
    async with opened(file) as tenant:
        await tenant.store.transact(tenant.workspace, [identify("ann")], by)
    async with opened(file) as tenant:
        with pytest.raises(AnsweredBefore) as before:
            await tenant.store.transact(tenant.workspace, [identify("ann")], by)
    assert before.value.answer == b"answer"


async def test_answers_of_the_last_24_hours_are_not_deleted(tenant: Tenant, clock: Clock) -> None:
    writer, _ = connections(tenant)
    once = Once(bytes(16), "Identify", b"", lambda _: b"answer")
    await tenant.store.transact(tenant.workspace, [identify("ann")], Caller(b"key", "request", once=once))
    clock.now += ANSWERS_ARE_KEPT_FOR - 1
    await tenant.do(identify("bob"))
    assert await ask(writer, "SELECT count(*) FROM answers") == 1


# Cancelled callers.


async def test_callers_that_go_while_a_connection_opens_leave_none_behind(file: Path) -> None:
    migrate_file(str(file), apply=True)
    for turns in range(12):
        connection = Connection(str(file), writes=False)
        task = asyncio.ensure_future(ask(connection, "SELECT 1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await ask(connection, "SELECT 1") == 1
        await connection.close()


async def test_a_closed_connection_is_not_opened_again(file: Path) -> None:
    migrate_file(str(file), apply=True)
    connection = Connection(str(file), writes=True)
    assert await ask(connection, "SELECT 1") == 1
    await connection.close()
    assert await refusal(ask(connection, "SELECT 1")) == "STORE_UNAVAILABLE"


async def test_many_who_ask_while_it_is_closed_open_one_connection(file: Path) -> None:
    migrate_file(str(file), apply=True)
    connection = Connection(str(file), writes=True)
    assert await asyncio.gather(*(ask(connection, "SELECT 1") for _ in range(10))) == [1] * 10
    await connection.close()


# Plans.


async def test_no_statement_of_a_call_walks_through_a_table(file: Path) -> None:
    seen: set[str] = set()
    async with opened(file) as tenant:
        for connection in connections(tenant):
            await connection.run(lambda sqlite: sqlite.set_trace_callback(seen.add))
        await _everything(tenant)
        for connection in connections(tenant):
            await connection.run(lambda sqlite: sqlite.set_trace_callback(None))
    plans = {}
    with closing(sqlite3.connect(file)) as connection_:
        for statement in seen:
            if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")):
                continue
            rows = connection_.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            plans[" ".join(statement.split())[:200]] = [row[3] for row in rows]
    tables = ("identifiers", "profiles", "journal", "answers")
    assert {table for table in tables if any(table in statement for statement in plans)} == set(tables)
    walks = {statement: steps for statement, plan in plans.items() if (steps := list(filter(_walks, plan)))}
    assert walks == {}


def _walks(step: str) -> bool:
    """Whether a step reads all rows of a table, or all of a workspace."""
    if step.startswith("SCAN"):
        return "VIRTUAL TABLE" not in step and "CONSTANT ROW" not in step
    return step.endswith("PRIMARY KEY (workspace=?)") and not step.startswith("SEARCH journal ")


async def _everything(tenant: Tenant) -> None:
    """Make a store run each of its statements over the graph."""
    once = Once(bytes(16), "Identify", b"", lambda _: b"answer")
    users = [f"user-{number}" for number in range(20)]
    await tenant.batch(*map(identify, users), once=once)
    await tenant.batch(*(create_alias(pair(f"label-{user}", "x"), user) for user in users))
    await tenant.batch(identify("anon", "cookie"), create_alias("cookie-2"), alias("user-0", "card"))
    await tenant.batch(identify("cookie-2"), delete_alias("card"))
    for loser in ("anon", "user-1", "cookie-2"):
        await tenant.do(alias("user-0", loser, v1.MERGE_POLICY_ALWAYS))
    await tenant.do(create_alias(pair("label-user-1", "y"), "user-2"))
    await tenant.do(alias("user-2", "user-3", v1.MERGE_POLICY_ALWAYS))
    await tenant.do(alias("user-4", "user-2", v1.MERGE_POLICY_ALWAYS))
    assert await tenant.refused(alias("user-0", "user-4", v1.MERGE_POLICY_ALWAYS)) == "LABEL_TAKEN"
    found = [profile for profile in await tenant.whose(*users) if profile is not None]
    await tenant.whose(*users, *found, *(pair(f"label-{user}", "x") for user in users))
    await tenant.whose("user-0")
    await tenant.page("user-0", id_of("card"), 1)


def permissions(folder: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_a_new_file_is_for_its_owner_alone_to_read(tmp_path: Path) -> None:
    store = await SqliteStore.open(str(tmp_path / "aka.db"))
    found = permissions(tmp_path)
    await store.close()
    assert found == {0o600}
