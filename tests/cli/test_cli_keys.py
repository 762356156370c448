"""`aka keys` and `aka workspaces`, through a server and straight on a database."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from aka.server.__main__ import main
from aka.server.keys import PERMISSIONS
from aka.server.page_tokens import MAX_PAGE
from aka.server.store.sqlite_file import own
from tests.cli.command import KEY, Serving, aka, identify, serving

ASK = {"identifiers": [{"id": "u"}]}

DATABASE = ("--database", "sqlite:///aka.db")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(cwd=tmp_path_factory.mktemp("keys")) as server:
        yield server


def run(server: Serving, *arguments: str, key: str = KEY) -> Result:
    """Run a command in this process; the server is another."""
    return CliRunner().invoke(main, arguments, env={"AKA_GRPC_ADDRESS": server.address, "AKA_API_KEY": key})


def shown(server: Serving, *arguments: str) -> Any:
    """Return the JSON that a command prints."""
    ended = run(server, *arguments, "--json")
    assert (ended.exit_code, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def refused(server: Serving, *arguments: str, key: str = KEY) -> tuple[int, str]:
    """Return the exit code and the one line on stderr of a command that prints nothing else."""
    ended = run(server, *arguments, key=key)
    (line,) = ended.stderr.splitlines()
    assert ended.stdout == ""
    return ended.exit_code, line


def test_a_new_key_is_shown_with_its_secret_and_is_good(server: Serving) -> None:
    made = shown(server, "keys", "create", "--name", "crm", "--permissions", "keys.admin, profiles.read")
    assert list(made) == ["id", "secret", "workspace", "permissions"]
    assert (made["workspace"], made["permissions"]) == ("default", ["keys.admin", "profiles.read"])
    server.call("Resolve", ASK, made["secret"])


def test_without_permissions_a_new_key_may_read_and_link(server: Serving) -> None:
    assert shown(server, "keys", "create")["permissions"] == ["aliases.write", "profiles.read"]


def test_permissions_may_be_given_one_a_flag(server: Serving) -> None:
    made = shown(server, "keys", "create", "--permission", "profiles.read", "--permission", "operator")
    assert made["permissions"] == ["operator", "profiles.read"]


def test_a_new_workspace_is_shown_with_its_first_key(server: Serving) -> None:
    made = shown(server, "workspaces", "create", "acme")
    assert list(made) == ["id", "secret", "workspace", "permissions"]
    assert (made["workspace"], made["permissions"]) == ("acme", sorted(PERMISSIONS - {"operator"}))
    server.call("Identify", identify("u"), made["secret"])
    assert "acme" in [workspace["name"] for workspace in shown(server, "workspaces", "list")]
    (first,) = shown(server, "keys", "list", "--workspace", "acme")
    assert (first["id"], first["name"]) == (made["id"], "first")


def test_keys_are_listed_without_their_secrets(server: Serving) -> None:
    made = shown(server, "keys", "create", "--name", "listed", "--expires-in", "90d")
    listed = run(server, "keys", "list")
    (key,) = [key for key in shown(server, "keys", "list") if key["id"] == made["id"]]
    assert key.items() >= {"name": "listed", "workspace": "default", "revoked_at": None, "last_used_at": None}.items()
    assert key["expires_at"] > key["created_at"]
    assert made["secret"].startswith(key["prefix"])
    assert made["secret"] not in listed.stdout + json.dumps(key)


def test_a_list_is_a_table_whose_columns_are_aligned(server: Serving) -> None:
    run(server, "keys", "create", "--name", "a key with a long name")
    head, *rows = run(server, "keys", "list").stdout.splitlines()
    assert len(rows) > 1
    for title in ("ID", "NAME", "PERMISSIONS", "CREATED"):
        column = head.index(title)
        assert all(row[column - 2 : column] in ("  ", "") and row[column] != " " for row in rows), title


def test_a_key_is_revoked_by_its_id_and_again_without_harm(server: Serving) -> None:
    made = shown(server, "keys", "create")
    assert run(server, "keys", "revoke", made["id"]).exit_code == 0
    with pytest.raises(grpc.RpcError):
        server.call("Resolve", ASK, made["secret"])
    assert shown(server, "keys", "revoke", made["id"])["revoked_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("keys", "revoke", "01890000-0000-7000-8000-000000000000"), "KEY_NOT_FOUND"),
        (("keys", "revoke", "crm"), "INVALID_VALUE"),
        (("keys", "list", "--workspace", "nobodys"), "WORKSPACE_NOT_FOUND"),
        (("keys", "create", "--permission", "all"), "INVALID_VALUE"),
        (("workspaces", "create", "default"), "WORKSPACE_EXISTS"),
    ],
)
def test_a_refusal_ends_with_1_and_its_reason(server: Serving, arguments: tuple[str, ...], reason: str) -> None:
    code, line = refused(server, *arguments)
    assert (code, reason in line) == (1, True)


def test_a_key_that_may_not_ends_with_1_and_is_not_shown(server: Serving) -> None:
    secret = shown(server, "keys", "create")["secret"]
    for key, reason in ((secret, "PERMISSION_MISSING"), ("the-key-of-nobody-at-all", "KEY_INVALID")):
        code, line = refused(server, "keys", "list", key=key)
        assert (code, reason in line, key in line) == (1, True, False)


def test_a_server_that_is_not_there_ends_with_1(server: Serving) -> None:
    code, line = refused(server, "keys", "list", "--server", "127.0.0.1:1")
    assert (code, line.startswith("aka: 127.0.0.1:1: UNAVAILABLE: ")) == (1, True)


@pytest.mark.parametrize("key", ["", " ", "k\u00e9y", "a\nkey"])
def test_without_a_key_that_can_be_sent_a_command_ends_with_2(server: Serving, key: str) -> None:
    code, line = refused(server, "keys", "list", key=key)
    assert (code, "AKA_API_KEY" in line) == (2, True)


@pytest.mark.parametrize("flags", [("--server", "127.0.0.1:1"), ("--key", "k")])
def test_a_database_needs_neither_server_nor_key(server: Serving, flags: tuple[str, str]) -> None:
    code, line = refused(server, "keys", "list", *DATABASE, *flags)
    assert (code, "--database" in line) == (2, True)


@pytest.mark.parametrize("time", ["90", "d", "-1d", "1y", "1.5h"])
def test_a_malformed_time_ends_with_2(server: Serving, time: str) -> None:
    code, line = refused(server, "keys", "create", f"--expires-in={time}")
    assert (code, "--expires-in" in line) == (2, True)


def test_a_database_that_no_server_has_is_worked_on_without_a_key(used: Path) -> None:
    made = aka("keys", "create", "--permission", "operator,profiles.read", "--json", *DATABASE, cwd=used)
    workspace = aka("workspaces", "create", "acme", "--json", *DATABASE, cwd=used)
    first, second = json.loads(aka("keys", "list", "--json", *DATABASE, cwd=used).out)
    revoked = aka("keys", "revoke", first["id"], *DATABASE, cwd=used)
    last = aka("keys", "revoke", second["id"], *DATABASE, cwd=used)
    assert (made.err, workspace.err, revoked.code) == ("", "", 0)
    assert (last.code, "LAST_OPERATOR_KEY" in last.err) == (1, True)
    with serving(cwd=used, key=None) as server:
        server.call("Resolve", ASK, json.loads(made.out)["secret"])
        server.call("Identify", identify("u"), json.loads(workspace.out)["secret"])
        with pytest.raises(grpc.RpcError):
            server.call("Resolve", ASK, KEY)


@pytest.mark.parametrize(
    ("command", "row"),
    [
        ("keys", "api_keys SELECT randomblob(16), 1, randomblob(32), 'k', '', 'operator', 0, NULL, NULL, NULL"),
        ("workspaces", "workspaces SELECT 1000 + number, 'workspace-' || number, 0"),
    ],
)
def test_what_is_more_than_a_page_is_listed_whole(used: Path, command: str, row: str) -> None:
    with closing(sqlite3.connect(used / "aka.db", isolation_level=None)) as connection:
        numbers = "WITH RECURSIVE n (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < ?)"
        connection.execute(f"{numbers} INSERT INTO {row} FROM n", (MAX_PAGE,))
    listed = json.loads(aka(command, "list", "--json", *DATABASE, cwd=used).out)
    assert len({json.dumps(shown) for shown in listed}) == len(listed) == MAX_PAGE + 1


def test_a_database_that_a_server_has_is_left_to_it(used: Path) -> None:
    owner = own(str(used / "aka.db"))
    assert owner is not None
    ended = aka("keys", "list", *DATABASE, cwd=used)
    owner.release()
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    ended = aka("keys", "create", *DATABASE, cwd=tmp_path)
    assert (ended.code, len(ended.errors), list(tmp_path.iterdir())) == (1, 1, [])


def test_a_database_of_an_older_aka_is_left_as_it_is(tmp_path: Path) -> None:
    aka("migrate", cwd=tmp_path)
    with closing(sqlite3.connect(tmp_path / "aka.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM migrations WHERE number = (SELECT max(number) FROM migrations)")
    ended = aka("keys", "list", *DATABASE, cwd=tmp_path)
    assert (ended.code, "aka migrate" in ended.err) == (1, True)
