"""Backups of a SQLite file and their return: whole or not there, and nothing lost on the way back."""

import asyncio
import fcntl
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from aka.server.store import sqlite_migrations
from aka.server.store.sqlite import SqliteStore
from aka.server.store.sqlite_backup import CannotCopy, Restored, back_up
from aka.server.store.sqlite_backup import restore as put_back
from aka.server.store.sqlite_check import check_file
from aka.server.store.sqlite_file import own
from aka.server.store.sqlite_migrations import migrate_file, migrations
from aka.server.store.store import Workspace
from tests.domain.world import alias, identify
from tests.store.tenant import Tenant

LONG_LIST = 2000
"""Profiles that make a file of many pages."""


@asynccontextmanager
async def served(file: Path) -> AsyncIterator[Tenant]:
    """Open a store over the file, and let it go whatever happens."""
    store = await SqliteStore.open(str(file))
    try:
        yield Tenant(store, Workspace(1))
    finally:
        await store.close()


async def _make_known(file: Path, user: str) -> None:
    async with served(file) as tenant:
        await tenant.batch(identify(user))


async def _populate(file: Path) -> None:
    migrate_file(str(file), apply=True)
    execute(file, "INSERT INTO workspaces VALUES (1, 'acme', 0)")
    async with served(file) as tenant:
        await tenant.batch(identify("ann"), alias("ann", "card"), *(identify(f"n{n}") for n in range(LONG_LIST)))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database that is in order."""
    file = tmp_path_factory.mktemp("sound") / "aka.db"
    asyncio.run(_populate(file))
    return file.read_bytes()


@pytest.fixture
def file(sound: bytes, tmp_path: Path) -> Path:
    """The database."""
    file = tmp_path / "aka.db"
    file.write_bytes(sound)
    return file


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Where its backup is to be, in a folder that has nothing else."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "backup.db"


def execute(file: Path, statement: str) -> None:
    """Change a file behind the store's back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0, "it changed nothing"


def crash(file: Path, *users: str) -> None:
    """Make users known, and leave the file and its log as a killed server does."""
    asyncio.run(_crash(file, users))
    for suffix in ("", "-wal"):
        Path(f"{file}.killed{suffix}").rename(f"{file}{suffix}")
    assert Path(f"{file}-wal").stat().st_size > 0


async def _crash(file: Path, users: Sequence[str]) -> None:
    async with served(file) as tenant:
        await tenant.batch(*map(identify, users))
        for suffix in ("", "-wal"):
            shutil.copy(f"{file}{suffix}", f"{file}.killed{suffix}")


def save(file: Path, backup: Path, *, replace: bool = False, thorough: bool = True) -> list[str]:
    """Back a database up, and return what is in the backup's folder then."""
    assert back_up(str(file), str(backup), replace=replace, thorough=thorough).faults == []
    return names(backup.parent)


def restore(backup: Path, file: Path, *, replace: bool = False) -> Restored:
    """Restore a backup."""
    return put_back(str(backup), str(file), replace=replace)


def refusal_to_save(file: Path, backup: Path, *, replace: bool = False, thorough: bool = False) -> str:
    """Return why a database cannot be backed up."""
    with pytest.raises(CannotCopy) as refused:
        back_up(str(file), str(backup), replace=replace, thorough=thorough)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def refusal_to_restore(backup: Path, file: Path, *, replace: bool = False) -> str:
    """Return why a backup cannot be restored."""
    with pytest.raises(CannotCopy) as refused:
        restore(backup, file, replace=replace)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def users(file: Path) -> set[str]:
    """Return who is known in a file that has no log, and is in order."""
    assert check_file(str(file)).faults == []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM identifiers") if not name.startswith("n")}


SOUND = {"ann", "card"}

# Backups.


def test_a_backup_is_one_file_that_only_its_owner_can_read(file: Path, backup: Path) -> None:
    assert save(file, backup) == ["backup.db"]
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_backup_has_what_the_database_has(file: Path, backup: Path) -> None:
    save(file, backup)
    assert users(backup) == SOUND


def test_a_backup_can_be_read_without_a_log_beside_it(file: Path, backup: Path) -> None:
    save(file, backup)
    with closing(sqlite3.connect(f"file:{backup}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert names(backup.parent) == ["backup.db"]


def test_a_backup_has_what_a_crash_left_in_the_log(file: Path, backup: Path) -> None:
    crash(file, "bob")
    save(file, backup)
    assert users(backup) == {*SOUND, "bob"}


async def test_a_backup_does_not_begin_again_where_the_database_is_written(
    file: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aka.server.store.sqlite_backup._STEP", 1)
    async with served(file) as tenant:
        saving = asyncio.create_task(asyncio.to_thread(save, file, backup, thorough=False))
        number = 0
        while not saving.done():
            await tenant.batch(identify(f"n-meanwhile-{number}"))
            number += 1
        assert await saving == ["backup.db"]
    assert users(backup) == SOUND


def test_a_backup_of_a_database_that_waits_for_a_migration_is_the_database_as_it_is(
    file: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        add_migration(newer)
        save(file, backup, thorough=False)
    assert users(backup) == SOUND


def test_a_thorough_backup_of_a_database_that_waits_for_a_migration_is_refused(
    file: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration(monkeypatch)
    assert "leave out --check" in refusal_to_save(file, backup, thorough=True)
    assert names(backup.parent) == []


def test_a_backup_that_is_there_is_kept_unless_it_may_be_replaced(file: Path, backup: Path) -> None:
    save(file, backup)
    before = backup.read_bytes()
    execute(file, "UPDATE workspaces SET name = 'renamed'")
    assert "--replace" in refusal_to_save(file, backup)
    assert (backup.read_bytes(), names(backup.parent)) == (before, ["backup.db"])
    assert save(file, backup, replace=True) == ["backup.db"]
    assert backup.read_bytes() != before


@pytest.mark.parametrize("replace", [False, True])
def test_a_database_is_no_backup_of_itself(file: Path, sound: bytes, replace: bool) -> None:
    link = file.with_name("link.db")
    link.symlink_to(file)
    for name in (file, link):
        assert "the same file" in refusal_to_save(file, name, replace=replace)
    assert file.read_bytes() == sound


def test_a_backup_whose_draft_would_be_the_database_is_refused(file: Path, sound: bytes) -> None:
    database = file.rename(file.with_name("aka.new"))
    assert "another name" in refusal_to_save(database, file.with_name("aka"))
    assert database.read_bytes() == sound


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"no database" * 1000, "is not a database"),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_database_is_not_backed_up(file: Path, backup: Path, content: bytes | None, why: str) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert why in refusal_to_save(file, backup)
    assert names(backup.parent) == []


def test_a_database_in_memory_is_not_backed_up(backup: Path) -> None:
    assert "there is no such file" in refusal_to_save(Path(":memory:"), backup)


def test_a_database_that_is_not_akas_is_not_backed_up(file: Path, backup: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    assert "not aka's" in refusal_to_save(file, backup)


@pytest.mark.parametrize("byte", [b"\0", b"\xa5"])
def test_a_damaged_database_is_not_backed_up(file: Path, backup: Path, byte: bytes) -> None:
    overwrite_a_page(file, byte)
    assert str(file) in refusal_to_save(file, backup)
    assert names(backup.parent) == []


def test_a_thorough_backup_finds_what_a_quick_one_does_not(file: Path, backup: Path) -> None:
    execute(file, "DELETE FROM identifiers WHERE name = 'card'")
    assert save(file, backup, thorough=False) == ["backup.db"]
    backup.unlink()
    with pytest.raises(CannotCopy) as refused:
        back_up(str(file), str(backup), replace=False, thorough=True)
    assert [fault for fault in refused.value.faults if "'card'" in fault]
    assert names(backup.parent) == []


def test_a_backup_into_a_missing_folder_is_refused(file: Path, tmp_path: Path) -> None:
    assert "No such file or directory" in refusal_to_save(file, tmp_path / "missing" / "backup.db")


def test_a_backup_that_another_process_is_writing_is_refused_and_left_alone(file: Path, backup: Path) -> None:
    draft = backup.with_name("backup.db.new")
    draft.write_bytes(b"half of it")
    with draft.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another aka process" in refusal_to_save(file, backup)
    assert draft.read_bytes() == b"half of it"


KILLED_HALF_WAY = """
import signal
from aka.server.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
main()
"""


def test_a_backup_that_is_killed_half_way_is_not_there_and_the_next_one_is(file: Path, backup: Path) -> None:
    half = file.stat().st_size // 2
    command = [sys.executable, "-c", KILLED_HALF_WAY, "backup", str(backup), "--database", f"sqlite:///{file}"]
    ended = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (half, half)),  # the kernel kills it just there
        capture_output=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGXFSZ, ended.stderr
    assert names(backup.parent) == ["backup.db.new"]
    assert backup.with_name("backup.db.new").stat().st_size == half
    assert save(file, backup) == ["backup.db"]
    assert users(backup) == SOUND


# Their return.


def test_a_backup_is_restored_where_nothing_is_and_is_there_still(file: Path, backup: Path) -> None:
    save(file, backup)
    saved = backup.read_bytes()
    file.unlink()
    assert restore(backup, file).aside is None
    assert users(file) == SOUND
    assert (backup.read_bytes(), file.stat().st_mode & 0o777) == (saved, 0o600)


def test_a_restored_database_is_served(file: Path, backup: Path) -> None:
    save(file, backup)
    file.unlink()
    restore(backup, file)
    asyncio.run(_make_known(file, "bob"))
    assert users(file) == {*SOUND, "bob"}


def test_a_database_that_is_there_is_kept_unless_it_may_be_replaced(file: Path, backup: Path, sound: bytes) -> None:
    save(file, backup)
    assert "--replace" in refusal_to_restore(backup, file)
    assert file.read_bytes() == sound


@pytest.mark.parametrize("replace", [False, True])
def test_a_database_that_is_served_is_not_replaced(file: Path, backup: Path, sound: bytes, replace: bool) -> None:
    save(file, backup)
    owner = own(str(file))
    assert owner is not None
    try:
        assert "is served by another aka process" in refusal_to_restore(backup, file, replace=replace)
    finally:
        owner.release()
    assert file.read_bytes() == sound


def test_a_database_that_was_replaced_has_all_that_it_had_under_another_name(file: Path, backup: Path) -> None:
    save(file, backup)
    crash(file, "bob")
    aside = restore(backup, file, replace=True).aside
    assert aside is not None
    assert aside.name.startswith("aka.db.before-")
    assert users(aside) == {*SOUND, "bob"}
    assert users(file) == SOUND


def test_the_log_of_what_was_replaced_is_not_applied_to_the_backup(file: Path, backup: Path) -> None:
    save(file, backup)
    crash(file, *(f"b{number}" for number in range(LONG_LIST)))
    shutil.copy(f"{file}-wal", file.with_name("copied.db-wal"))
    shutil.copy(backup, file.with_name("copied.db"))
    assert users_or_fault(file.with_name("copied.db")) != SOUND  # as it comes where a backup is only copied
    restore(backup, file, replace=True)
    assert users(file) == SOUND


def test_a_log_without_its_database_is_not_applied_to_the_backup(file: Path, backup: Path) -> None:
    save(file, backup)
    crash(file, "bob")
    file.unlink()
    restore(backup, file)
    assert users(file) == SOUND


def test_what_is_no_database_any_more_is_set_aside_as_it_is(file: Path, backup: Path) -> None:
    save(file, backup)
    crash(file, "bob")
    log = Path(f"{file}-wal").read_bytes()
    file.write_bytes(b"no database" * 1000)
    Path(f"{file}-wal").write_bytes(b"no log" + log)
    aside = restore(backup, file, replace=True).aside
    assert aside is not None
    assert (aside.read_bytes(), Path(f"{aside}-wal").read_bytes()) == (b"no database" * 1000, b"no log" + log)
    assert users(file) == SOUND


def test_a_database_behind_a_link_is_replaced_where_it_is(file: Path, backup: Path, tmp_path: Path) -> None:
    save(file, backup)
    link = tmp_path / "link.db"
    link.symlink_to(file)
    restore(backup, link, replace=True)
    assert (link.is_symlink(), file.is_symlink(), users(file)) == (True, False, SOUND)


def test_a_damaged_backup_is_not_restored(file: Path, backup: Path, sound: bytes) -> None:
    save(file, backup)
    execute(backup, "DELETE FROM identifiers WHERE name = 'card'")
    with pytest.raises(CannotCopy) as refused:
        restore(backup, file, replace=True)
    assert [fault for fault in refused.value.faults if "'card'" in fault]
    assert file.read_bytes() == sound


def test_a_backup_of_a_newer_aka_is_not_restored(file: Path, backup: Path, sound: bytes) -> None:
    save(file, backup)
    execute(backup, "INSERT INTO migrations VALUES (9999, 'later', 0)")
    assert "from a newer aka (migration 9999" in refusal_to_restore(backup, file, replace=True)
    assert file.read_bytes() == sound


def test_a_backup_of_an_older_aka_is_migrated_when_it_is_restored_and_stays_as_it_is(
    file: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(file, backup)
    saved = backup.read_bytes()
    add_migration(monkeypatch)
    restore(backup, file, replace=True)
    assert migrate_file(str(file), apply=False) == []
    assert backup.read_bytes() == saved


@pytest.mark.parametrize(("name", "why"), [("missing.db", "no such file"), ("aka.db", "the same file")])
def test_what_cannot_be_a_backup_is_not_restored(file: Path, sound: bytes, name: str, why: str) -> None:
    assert why in refusal_to_restore(file.with_name(name), file, replace=True)
    assert file.read_bytes() == sound


def test_a_backup_that_bears_the_drafts_name_is_refused_and_left_alone(file: Path, backup: Path) -> None:
    save(file, backup)
    saved = backup.rename(file.with_name("aka.db.new"))
    assert "another name" in refusal_to_restore(saved, file, replace=True)
    assert users(saved) == SOUND


def test_nothing_is_restored_to_memory(file: Path) -> None:
    assert "name a file" in refusal_to_restore(file, Path(":memory:"))


def test_a_failed_restore_leaves_no_draft(file: Path, backup: Path) -> None:
    backup.write_bytes(b"no database" * 1000)
    refusal_to_restore(backup, file, replace=True)
    assert names(file.parent) == ["aka.db", "aka.db.lock", "backups"]


def add_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this aka know one more migration."""
    known = [*migrations(), (9001, "later", "CREATE TABLE later (x)")]
    monkeypatch.setattr(sqlite_migrations, "migrations", lambda: known)


def overwrite_a_page(file: Path, byte: bytes) -> None:
    """Overwrite a page in the middle of a file."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2 // 4096 * 4096)
        opened.write(byte * 4096)


def users_or_fault(file: Path) -> set[str] | None:
    """Return who is known in a file; None where it is not in order."""
    try:
        return users(file)
    except (AssertionError, sqlite3.Error):
        return None
