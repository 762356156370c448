"""`aka migrate`, `check`, `health`, `version` and `--help`."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from aka.server.store.sqlite_migrations import migrations
from tests.cli.command import KEY, aka, environment
from tests.cli.conftest import Meanwhile, Run

COMMANDS = ["serve", "gateway", "keys", "workspaces", "migrate", "check", "health", "backup", "restore", "version"]


def damage(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement)


def test_migrate_makes_a_database_says_what_it_applied_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    ended = aka("migrate", cwd=tmp_path)
    assert (ended.code, (tmp_path / "aka.db").exists()) == (0, True)
    assert ended.out.splitlines() == [f"applied {number:04} {name}" for number, name, _ in migrations()]
    assert aka("migrate", cwd=tmp_path).out == "up to date\n"


def test_migrate_dry_run_says_what_is_pending_and_makes_nothing(tmp_path: Path) -> None:
    ended = aka("migrate", "--dry-run", cwd=tmp_path)
    assert ended.out.splitlines() == [f"pending {number:04} {name}" for number, name, _ in migrations()]
    assert list(tmp_path.iterdir()) == []


def test_migrate_takes_the_database_by_flag_before_the_variable(tmp_path: Path) -> None:
    env = environment(database_url="sqlite:///one.db")
    aka("migrate", "--database", "sqlite:///two.db", cwd=tmp_path, env=env)
    assert [(tmp_path / name).exists() for name in ("one.db", "two.db")] == [False, True]


def test_migrate_refuses_a_database_that_is_served(meanwhile: Meanwhile) -> None:
    assert (meanwhile.migrate.code, len(meanwhile.migrate.errors)) == (1, 1)


def test_a_wrong_database_url_ends_with_2(tmp_path: Path) -> None:
    ended = aka("check", "--database", "aka.db", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (2, 1)


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_database_in_a_missing_folder_ends_with_1(tmp_path: Path, command: str) -> None:
    ended = aka(command, "--database", "sqlite:///missing/aka.db", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_check_finds_no_fault_in_a_database_that_was_only_served(used: Path) -> None:
    ended = aka("check", cwd=used)
    assert (ended.code, ended.out, ended.err) == (0, "2 profiles, 3 identifiers: no faults\n", "")


def test_check_works_beside_a_running_server(meanwhile: Meanwhile) -> None:
    assert (meanwhile.check.code, meanwhile.check.out) == (0, "1 profiles, 1 identifiers: no faults\n")


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM identifiers WHERE name = 'a'", "DELETE FROM journal WHERE kind = 'linked'"],
    ids=["an identifier", "the journal"],
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


def test_health_says_serving_and_ends_with_0(meanwhile: Meanwhile) -> None:
    assert (meanwhile.health.code, meanwhile.health.out) == (0, "SERVING\n")


def test_health_asks_no_proxy(meanwhile: Meanwhile) -> None:
    assert (meanwhile.health_with_a_proxy.code, meanwhile.health_with_a_proxy.out) == (0, "SERVING\n")


def test_health_asks_the_address_of_the_variable_and_ends_with_1_and_one_line_where_nobody_serves(served: Run) -> None:
    ended = aka("health", cwd=served.folder, env=environment(grpc_address=served.address))
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert served.address in ended.err


@pytest.mark.parametrize("command", [("health", "--server"), ("keys", "list", "--server"), ("gateway", "--target")])
def test_what_is_no_address_of_a_server_ends_with_2(command: tuple[str, ...], tmp_path: Path) -> None:
    ended = aka(*command, "no-port", cwd=tmp_path, env=environment(api_key=KEY))
    assert (ended.code, ended.out) == (2, "")
    assert "'no-port' is not HOST:PORT or unix:/path" in ended.err


def test_version_is_the_packages(tmp_path: Path) -> None:
    assert aka("version", cwd=tmp_path).out == f"aka {version('aka')}\n"


def test_help_lists_every_command(tmp_path: Path) -> None:
    shown = aka("--help", cwd=tmp_path).out
    assert [command for command in COMMANDS if f"\n  {command} " not in shown] == []


def loaded_with(module: str) -> set[str]:
    """What a new Python has loaded when it has imported a module."""
    script = f"import sys, {module}; print(*sys.modules)"
    return {*subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()}


def test_a_command_that_asks_a_server_waits_for_no_import_of_what_serves() -> None:
    of_servers = {
        "aka.server.app",
        "aka.server.config",
        "aiosqlite",
        "prometheus_client",
        "starlette",
        "structlog",
        "uvicorn",
    }
    assert of_servers & loaded_with("aka.server.alias_commands") == set()


def test_a_server_waits_for_no_import_of_what_it_was_not_asked_for() -> None:
    asked_for = {"aka.server.supervisor", "asyncpg", "opentelemetry.sdk", "prometheus_client", "rich"}
    assert asked_for & loaded_with("aka.server.serve_commands") == set()
