"""The integrity check of a SQLite file: each kind of damage, done by hand, is found and named."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from aka.server.store.audit import SHOWN
from aka.server.store.sqlite import SqliteStore
from aka.server.store.sqlite_check import check_file
from aka.server.store.sqlite_file import own
from aka.server.store.sqlite_migrations import migrate_file
from aka.server.store.store import CannotOpen, Workspace
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, delete_alias, happen, identify, pair, track
from tests.store.tenant import Tenant

ALWAYS = v1.MERGE_POLICY_ALWAYS


@asynccontextmanager
async def served(file: Path) -> AsyncIterator[Tenant]:
    """Open a store over the file, and let it go whatever happens."""
    store = await SqliteStore.open(str(file))
    try:
        yield Tenant(store, Workspace(1))
    finally:
        await store.close()


async def _populate(file: Path) -> None:
    migrate_file(str(file), apply=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO workspaces VALUES (1, 'acme', 0), (2, 'umbrella', 0)")
    async with served(file) as tenant:
        await tenant.batch(*map(identify, ["ann", "bob", "cid", "dan"]), create_alias("cookie"))
        await tenant.batch(alias("ann", "card"), alias("ann", "scrap"), delete_alias("scrap"), alias("cid", "cid-card"))
        await tenant.batch(track("cid", {"plan": "free"}, "token"), *(happen("cid", "seen") for _ in range(3)))
        await tenant.batch(create_alias(pair("crm", "1"), "ann"), create_alias(pair("crm", "2"), "dan"))
        await tenant.batch(alias("bob", "cid", ALWAYS), alias("ann", "bob", ALWAYS))  # a tombstone's tombstone: cid
        await Tenant(tenant.store, Workspace(2)).batch(*(identify(f"eve-{number}") for number in range(30)))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that is in order."""
    file = tmp_path_factory.mktemp("sound") / "aka.db"
    asyncio.run(_populate(file))
    return file.read_bytes()


@pytest.fixture
def file(sound: bytes, tmp_path: Path) -> Path:
    """A copy of it."""
    file = tmp_path / "aka.db"
    file.write_bytes(sound)
    return file


def damage(file: Path, *statements: str) -> None:
    """Change rows behind the store's back. `:ann` and the like stand for the profile ids of those people."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        named = "SELECT name, origin FROM identifiers WHERE workspace = 1 AND label = ''"
        people = dict(connection.execute(named).fetchall())
        for statement in statements:
            assert connection.execute(statement, people).rowcount > 0, "it damaged nothing"


def faults(file: Path) -> list[str]:
    return check_file(str(file)).faults


def test_a_file_in_order_has_no_faults(file: Path) -> None:
    report = check_file(str(file))
    assert report.faults == []
    assert report.summary == "35 profiles, 39 identifiers"


UPDATE = "UPDATE profiles SET"
MISFIT = "it does not fit what the entries before it add up to"
MORE = "INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at) VALUES"
DAMAGES = {
    "a survivor that is two steps away": (
        f"{UPDATE} survivor = :bob WHERE id = :cid",
        "its survivor is no living profile",
    ),
    "a survivor that is nobody": (
        f"{UPDATE} survivor = zeroblob(16) WHERE id = :cid",
        "its survivor is no living profile",
    ),
    "a survivor that is somebody else": (f"{UPDATE} survivor = :dan WHERE id = :cid", "the journal makes"),
    "a living profile with a parent": (
        f"{UPDATE} parent = :dan WHERE id = :ann",
        "it is neither living nor a tombstone",
    ),
    "a tombstone without a parent": (f"{UPDATE} parent = NULL WHERE id = :bob", "it is neither living nor a tombstone"),
    "a tombstone without a merge": (
        f"{UPDATE} merged_by = NULL WHERE id = :bob",
        "it is neither living nor a tombstone",
    ),
    "a tombstone with another's merge": (
        f"{UPDATE} merged_by = (SELECT merged_by FROM profiles WHERE id = :cid) WHERE id = :bob",
        "no merge in the journal made it a tombstone",
    ),
    "a tombstone whose merge is no merge": (
        f"{UPDATE} merged_by = 1 WHERE id = :bob",
        "no merge in the journal made it a tombstone",
    ),
    "a tombstone with another parent": (f"{UPDATE} parent = :ann WHERE id = :cid", "the journal tells of it as"),
    "a tombstone with counters": (
        f"{UPDATE} identifiers = 1 WHERE id = :bob",
        "it is a tombstone with a primary id or counters",
    ),
    "a tombstone with a primary id": (
        f"{UPDATE} primary_id = 'bob' WHERE id = :bob",
        "it is a tombstone with a primary id or counters",
    ),
    "a primary id that is on another profile": (
        f"{UPDATE} primary_id = 'dan' WHERE id = :ann",
        "its primary id is not on it, or is marked anonymous",
    ),
    "a primary id that is nobody's": (
        f"{UPDATE} primary_id = 'nobody' WHERE id = :ann",
        "its primary id is not on it, or is marked anonymous",
    ),
    "a primary id that is marked anonymous": (
        "UPDATE identifiers SET anonymous = 1 WHERE name = 'ann'",
        "its primary id is not on it, or is marked anonymous",
    ),
    "a profile that lost its primary id": (
        f"{UPDATE} primary_id = NULL WHERE id = :dan",
        "the journal tells of it as Record(primary='dan'",
    ),
    "two names under one label": (f"{MORE} (1, 'crm', '9', :ann, 0, 0)", "it has two names under one label"),
    "two names under one label, one on a tombstone": (
        f"{MORE} (1, 'crm', '9', :cid, 0, 0)",
        "it has two names under one label",
    ),
    "a wrong count of identifiers": (
        f"{UPDATE} identifiers = 9 WHERE id = :ann",
        "stored is Counts(identifiers=9, user_aliases=1, tombstones=2)",
    ),
    "a wrong count of user aliases": (
        f"{UPDATE} user_aliases = 9 WHERE id = :ann",
        "it has Counts(identifiers=6, user_aliases=1, tombstones=2)",
    ),
    "a wrong count of tombstones": (f"{UPDATE} tombstones = 9 WHERE id = :ann", "tombstones=9)"),
    "a wrong time of creation": (f"{UPDATE} created_at = 9 WHERE id = :dan", "the journal tells of it as"),
    "a wrong time of change": (f"{UPDATE} updated_at = 9 WHERE id = :dan", "the journal tells of it as"),
    "data that was orphaned by no merge": (f"{UPDATE} orphaned = 1 WHERE id = :bob", "the journal tells of it as"),
    "an identifier that is missing": (
        "DELETE FROM identifiers WHERE name = 'card'",
        "identifier ('', 'card'): it is in the journal and not stored",
    ),
    "an identifier that nobody linked": (
        f"{MORE} (1, '', 'stray', :ann, 0, 0)",
        "identifier ('', 'stray'): the journal tells of it otherwise",
    ),
    "an identifier on another profile": (
        "UPDATE identifiers SET origin = :dan WHERE name = 'card'",
        "identifier ('', 'card'): the journal tells of it otherwise",
    ),
    "an identifier on another profile with the same survivor": (
        "UPDATE identifiers SET origin = :bob WHERE name = 'card'",
        "identifier ('', 'card'): the journal tells of it otherwise",
    ),
    "an identifier with another name": (
        "UPDATE identifiers SET name = 'Card' WHERE name = 'card'",
        "identifier ('', 'Card'): the journal tells of it otherwise",
    ),
    "an identifier with another time": (
        "UPDATE identifiers SET linked_at = 9 WHERE name = 'card'",
        "identifier ('', 'card'): the journal tells of it otherwise",
    ),
    "an identifier on a profile that is missing": (
        "UPDATE identifiers SET origin = zeroblob(16) WHERE name = 'card'",
        "a row of identifiers points at no row of profiles",
    ),
    "a profile that is missing": (
        "DELETE FROM profiles WHERE id = :cookie",
        "it is in the journal and not stored",
    ),
    "a profile that nobody made": (
        "INSERT INTO profiles SELECT workspace, zeroblob(16), zeroblob(16), NULL, NULL, 0, NULL, 0, 0, 0, 9, 9"
        " FROM profiles WHERE id = :ann",
        "profile 00000000-0000-0000-0000-000000000000: the journal knows nothing of it",
    ),
    "a profile of a workspace that is missing": (
        f"{UPDATE} workspace = 3 WHERE id = :dan",
        "a row of profiles points at no row of workspaces",
    ),
    "a journal without its first entry": (
        "DELETE FROM journal WHERE workspace = 1 AND sequence = 1",
        "workspace 1, journal 1: it is not stored",
    ),
    "a journal with a gap that nothing else shows": (
        "DELETE FROM journal WHERE name = 'scrap'",
        "workspace 1, journal 7: it is not stored",
    ),
    "a journal without its last entry": (
        "DELETE FROM journal WHERE kind = 'merged' AND sequence = (SELECT max(sequence) FROM journal"
        " WHERE workspace = 1)",
        "no merge in the journal made it a tombstone",
    ),
    "a journal entry about a profile that is unknown": (
        "UPDATE journal SET profile = zeroblob(16) WHERE kind = 'linked' AND name = 'card'",
        MISFIT,
    ),
    "a journal entry that links what is linked": (
        "UPDATE journal SET name = 'cid-card' WHERE kind = 'linked' AND name = 'scrap'",
        MISFIT,
    ),
    "a journal entry that makes who is there": (
        "UPDATE journal SET profile = :ann WHERE kind = 'created' AND name = 'dan'",
        MISFIT,
    ),
    "a journal entry that makes a primary id what none was": (
        "UPDATE journal SET flag = 0 WHERE kind = 'created' AND name = 'cid'",
        MISFIT,
    ),
    "a journal entry that unlinks from another profile": (
        "UPDATE journal SET profile = :dan WHERE kind = 'unlinked'",
        MISFIT,
    ),
    "a journal entry that unlinks what had another origin": (
        "UPDATE journal SET other = :dan WHERE kind = 'unlinked'",
        MISFIT,
    ),
    "a journal entry that unlinks what was linked at another time": (
        "UPDATE journal SET linked_at = 9 WHERE kind = 'unlinked'",
        MISFIT,
    ),
    "a journal entry that unlinks what was no anonymous id as one": (
        "UPDATE journal SET anonymous = 1 WHERE kind = 'unlinked'",
        MISFIT,
    ),
    "a journal entry that lacks what an undo needs": (
        "UPDATE journal SET created_at = NULL WHERE kind = 'merged' AND profile = :ann",
        MISFIT,
    ),
    "a journal entry that identifies who is identified": (
        "UPDATE journal SET kind = 'identified' WHERE kind = 'unlinked'",
        MISFIT,
    ),
    "a journal entry that merges somebody with himself": (
        "UPDATE journal SET other = profile WHERE kind = 'merged' AND profile = :ann",
        MISFIT,
    ),
    "a journal entry that merges into a tombstone": (
        "UPDATE journal SET profile = :cid WHERE kind = 'merged' AND profile = :ann",
        MISFIT,
    ),
    "a journal entry that merges with another primary id": (
        "UPDATE journal SET name = 'card' WHERE kind = 'merged' AND profile = :bob",
        MISFIT,
    ),
    "a journal entry that merges who was made at another time": (
        "UPDATE journal SET other_created_at = 9 WHERE kind = 'merged' AND profile = :bob",
        MISFIT,
    ),
    "a journal entry that merges into who was made at another time": (
        "UPDATE journal SET created_at = 9 WHERE kind = 'merged' AND profile = :bob",
        MISFIT,
    ),
    "a journal entry about another profile": (
        "UPDATE journal SET profile = :dan WHERE kind = 'linked' AND name = 'card'",
        "identifier ('', 'card'): the journal tells of it otherwise",
    ),
    "a journal entry about another identifier": (
        "UPDATE journal SET name = 'Card' WHERE kind = 'linked' AND name = 'card'",
        "identifier ('', 'Card'): it is in the journal and not stored",
    ),
    "a journal entry of another time": (
        "UPDATE journal SET at = 9 WHERE kind = 'created' AND name = 'dan'",
        "the journal tells of it as",
    ),
    "an attribute of a profile that is missing": (
        "UPDATE attributes SET origin = x'09'",
        "it has data and is not stored",
    ),
    "a push token of a profile that is missing": (
        "UPDATE push_tokens SET origin = x'09'",
        "it has data and is not stored",
    ),
    "an event of a profile that is missing": (
        "UPDATE activities SET origin = x'09'",
        "it has data and is not stored",
    ),
    "an event that is missing": (
        "DELETE FROM activities WHERE number = 2",
        "some of its activities are not stored",
    ),
    "a key of a workspace that is missing": (
        "INSERT INTO api_keys (id, workspace, digest, name, prefix, permissions, created_at)"
        " VALUES (x'00', 9, x'00', '', '', '', 0)",
        "a row of api_keys points at no row of workspaces",
    ),
}


@pytest.mark.parametrize(("statement", "fault"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_and_named(file: Path, statement: str, fault: str) -> None:
    damage(file, statement)
    assert [found for found in faults(file) if fault in found]


def test_a_fault_names_its_workspace(file: Path) -> None:
    damage(file, "UPDATE profiles SET identifiers = 9 WHERE workspace = 2 AND primary_id = 'eve-7'")
    [fault] = faults(file)
    assert fault.startswith("workspace 2, profile ")


def test_damage_in_one_place_is_one_fault(file: Path) -> None:
    damage(file, "UPDATE identifiers SET linked_at = 9 WHERE name = 'card'")
    assert len(faults(file)) == 1


def test_of_many_faults_of_a_kind_the_first_are_shown_and_the_rest_counted(file: Path) -> None:
    damage(file, "UPDATE identifiers SET linked_at = 9 WHERE workspace = 2")
    found = faults(file)
    assert len(found) == SHOWN + 1
    assert found[-1] == f"... and {30 - SHOWN} more like these"


def test_many_faults_of_one_kind_do_not_hide_another(file: Path) -> None:
    damage(
        file,
        "UPDATE identifiers SET linked_at = 9 WHERE workspace = 2",
        "UPDATE profiles SET survivor = :bob WHERE id = :cid",
    )
    assert [fault for fault in faults(file) if "its survivor is no living profile" in fault]


def test_a_damaged_page_is_found(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'answers_by_time'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as damaged:
        damaged.seek((page - 1) * size)
        damaged.write(b"\xff" * 64)
    assert [fault for fault in faults(file) if fault.startswith("SQLite: ")]


def test_checking_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    faults(file)
    assert file.read_bytes() == before


def test_a_checked_file_is_nobodys(file: Path) -> None:
    faults(file)
    owner = own(str(file))
    assert owner is not None
    owner.release()


async def test_a_file_is_checked_beside_the_server_that_owns_it(file: Path) -> None:
    async with served(file) as tenant:
        await tenant.do(alias("ann", "newest"))
        report = check_file(str(file))
        assert (report.faults, report.summary) == ([], "35 profiles, 40 identifiers")
        await tenant.do(alias("ann", "newer still"))


async def test_a_file_is_checked_as_of_one_moment_while_it_changes(file: Path) -> None:
    async with served(file) as tenant:
        asked = [asyncio.ensure_future(tenant.do(alias("ann", f"card-{number}"))) for number in range(300)]
        while not all(task.done() for task in asked):
            report = await asyncio.to_thread(check_file, str(file))
            assert report.faults == []
        await asyncio.gather(*asked)


@pytest.mark.parametrize("name", ["missing.db", "missing/aka.db", ":memory:"])
def test_what_is_not_there_cannot_be_checked(tmp_path: Path, name: str) -> None:
    path = name if name == ":memory:" else str(tmp_path / name)
    with pytest.raises(CannotOpen, match="there is no such file"):
        check_file(path)


def test_a_file_that_is_no_database_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "aka.db").write_bytes(b"no database" * 1000)
    with pytest.raises(CannotOpen, match="file is not a database"):
        check_file(str(tmp_path / "aka.db"))


def test_somebody_elses_database_cannot_be_checked(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "aka.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(CannotOpen, match="tables that are not aka's"):
        check_file(str(tmp_path / "aka.db"))


def test_a_database_that_lacks_migrations_cannot_be_checked(file: Path) -> None:
    damage(file, "DELETE FROM migrations")
    with pytest.raises(CannotOpen, match="it lacks migrations; run `aka migrate` first"):
        check_file(str(file))
