"""`aka backup` and `aka restore`, by the operator's hand."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.command import Ended, aka, environment, identify, serving
from tests.cli.test_cli_tools import damage

CHECKED = "2 profiles, 3 identifiers: no faults\n"
"""What a check says of what `served` left."""


@dataclass(frozen=True)
class Saved:
    """A database of one user, backed up beside its server, which then met another user and was stopped."""

    folder: Path
    backup: Ended
    restore: Ended
    check: Ended


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A backup; its folder is not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    with serving(cwd=folder) as server:
        server.call("Identify", identify("before"))
        backup = aka("backup", "backup.db", cwd=folder)
        restore = aka("restore", "backup.db", "--replace", cwd=folder)
        server.call("Identify", identify("after"))
        check = aka("check", "--database", "sqlite:///backup.db", cwd=folder)
        assert server.stop().code == 0
    return Saved(folder, backup, restore, check)


def test_a_database_is_backed_up_while_it_is_served(saved: Saved) -> None:
    said = "aka.db is backed up to backup.db; quick check: no faults\n"
    assert (saved.backup.code, saved.backup.out, saved.backup.err) == (0, said, "")


def test_a_backup_is_checked_as_a_database_is(saved: Saved) -> None:
    assert (saved.check.code, saved.check.out) == (0, "1 profiles, 1 identifiers: no faults\n")


def test_nothing_is_restored_while_the_database_is_served(saved: Saved) -> None:
    assert (saved.restore.code, saved.restore.out, len(saved.restore.errors)) == (1, "", 1)
    assert "is served by another aka process" in saved.restore.err


def test_a_restored_database_is_served_with_the_keys_and_profiles_of_its_backup(saved: Saved, tmp_path: Path) -> None:
    ended = aka("restore", str(saved.folder / "backup.db"), cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    with serving(cwd=tmp_path, key=None) as server:
        found = server.call("Resolve", {"identifiers": [{"id": "before"}, {"id": "after"}]})["resolutions"]
    assert [answer.get("found", False) for answer in found] == [True, False]


def test_a_restore_tells_where_the_database_is_that_was_there(used: Path) -> None:
    assert aka("backup", "backup.db", cwd=used).code == 0
    ended = aka("restore", "backup.db", "--replace", cwd=used)
    [aside] = used.glob("aka.db.before-*")
    told = f"the database that was there is now {aside}\nbackup.db is restored to aka.db; {CHECKED}"
    assert (ended.code, ended.out, ended.err) == (0, told, "")
    assert aka("check", "--database", f"sqlite:///{aside}", cwd=used).out == CHECKED


def test_a_backup_is_checked_thoroughly_where_it_is_asked_to(used: Path) -> None:
    ended = aka("backup", "backup.db", "--check", cwd=used)
    assert (ended.code, ended.out) == (0, f"aka.db is backed up to backup.db; {CHECKED}")


def test_a_damaged_database_is_named_with_its_faults_and_not_backed_up(used: Path) -> None:
    damage(used / "aka.db", "DELETE FROM identifiers WHERE name = 'a'")
    ended = aka("backup", "backup.db", "--check", cwd=used)
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert "journal" in ended.out
    assert not (used / "backup.db").exists()


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize("database", ["sqlite:///missing/aka.db", "sqlite:///:memory:"])
def test_a_database_that_is_not_there_ends_with_1(tmp_path: Path, command: str, database: str) -> None:
    ended = aka(command, "backup.db", "--database", database, cwd=tmp_path)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_is_there_is_not_replaced_unless_asked_to(used: Path, command: str) -> None:
    (used / "backup.db").write_bytes((used / "aka.db").read_bytes())
    ended = aka(command, "backup.db", cwd=used)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert "--replace" in ended.err


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_wrong_database_url_ends_with_2(tmp_path: Path, command: str) -> None:
    ended = aka(command, "backup.db", cwd=tmp_path, env=environment(database_url="aka.db"))
    assert (ended.code, len(ended.errors)) == (2, 1)
