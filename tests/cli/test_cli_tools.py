"""`aka migrate`, `check`, `health`, `version` and `--help`."""

import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from aka.server.store.sqlite_file import migrations
from tests.cli.command import aka, environment, identify, serving

COMMANDS = ["serve", "migrate", "check", "health", "version"]


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A folder whose `aka.db` has been served and used."""
    with serving(cwd=tmp_path) as server:
        server.call("Identify", identify("u", "v"))
        server.call("Alias", {"user_id": "u", "alias_id": "a"})
        server.stop()
    return tmp_path


def damage(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement)


def test_migrate_makes_a_database_and_says_what_it_applied(tmp_path: Path) -> None:
    ended = aka("migrate", cwd=tmp_path)
    assert (ended.code, (tmp_path / "aka.db").exists()) == (0, True)
    assert ended.out.splitlines() == [f"applied {number:04} {name}" for number, name, _ in migrations()]


def test_migrate_again_has_nothing_to_do(tmp_path: Path) -> None:
    aka("migrate", cwd=tmp_path)
    assert aka("migrate", cwd=tmp_path).out == "up to date\n"


def test_migrate_dry_run_says_what_is_pending_and_makes_nothing(tmp_path: Path) -> None:
    ended = aka("migrate", "--dry-run", cwd=tmp_path)
    assert ended.out.splitlines() == [f"pending {number:04} {name}" for number, name, _ in migrations()]
    assert list(tmp_path.iterdir()) == []


def test_migrate_takes_the_database_by_flag_before_the_variable(tmp_path: Path) -> None:
    env = environment(database_url="sqlite:///one.db")
    aka("migrate", "--database", "sqlite:///two.db", cwd=tmp_path, env=env)
    assert [(tmp_path / name).exists() for name in ("one.db", "two.db")] == [False, True]


def test_migrate_refuses_a_database_that_is_served(tmp_path: Path) -> None:
    with serving(cwd=tmp_path):
        ended = aka("migrate", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (1, 1)


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_wrong_database_url_ends_with_2(tmp_path: Path, command: str) -> None:
    ended = aka(command, "--database", "aka.db", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (2, 1)


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_database_in_a_missing_folder_ends_with_1(tmp_path: Path, command: str) -> None:
    ended = aka(command, "--database", "sqlite:///missing/aka.db", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_check_finds_no_fault_in_a_database_that_was_only_served(used: Path) -> None:
    ended = aka("check", cwd=used)
    assert (ended.code, ended.out, ended.err) == (0, "2 profiles, 3 identifiers: no faults\n", "")


def test_check_works_beside_a_running_server(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        server.call("Identify", identify("u"))
        assert aka("check", cwd=tmp_path).code == 0
        assert server.call("Identify", identify("v"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE profiles SET identifiers = identifiers + 1",
        "DELETE FROM identifiers WHERE name = 'a'",
        "DELETE FROM journal WHERE kind = 'linked'",
        "UPDATE profiles SET primary_id = 'nobody'",
    ],
    ids=["a counter", "an identifier", "the journal", "a primary id"],
)
def test_check_ends_with_1_and_says_what_is_damaged(used: Path, statement: str) -> None:
    damage(used / "aka.db", statement)
    ended = aka("check", cwd=used)
    assert ended.code == 1
    assert len(ended.out.splitlines()) > 1


def test_check_ends_with_1_where_the_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "aka.db").write_bytes(b"no database" * 1000)
    ended = aka("check", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_check_makes_no_database(tmp_path: Path) -> None:
    ended = aka("check", cwd=tmp_path)
    assert (ended.code, list(tmp_path.iterdir())) == (1, [])


def test_health_says_serving_and_ends_with_0(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        ended = aka("health", "--server", server.address, cwd=tmp_path)
    assert (ended.code, ended.out) == (0, "SERVING\n")


def test_health_asks_the_address_of_the_variable(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        ended = aka("health", cwd=tmp_path, env=environment(grpc_address=server.address))
    assert (ended.code, ended.out) == (0, "SERVING\n")


def test_health_ends_with_1_and_one_line_where_nobody_serves(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        server.stop()
    ended = aka("health", "--server", server.address, cwd=tmp_path)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)


def test_version_is_the_packages(tmp_path: Path) -> None:
    assert aka("version", cwd=tmp_path).out == f"aka {version('aka')}\n"


def test_help_lists_every_command(tmp_path: Path) -> None:
    shown = aka("--help", cwd=tmp_path).out
    assert [command for command in COMMANDS if f"\n  {command} " not in shown] == []
