"""The commands for people who look into something: what they do, print, and exit with."""

import json
import os
import pty
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aka.client import Client
from aka.server.__main__ import main
from aka.server.alias_commands import COMMANDS
from aka.server.command_items import EXIT_CODES
from tests.cli.command import AKA, environment
from tests.client.calling import Script, reason
from tests.client.calls import Workspace
from tests.grpc.wire import UNKNOWN_UUID

Aka = Callable[..., Result]


@pytest.fixture
def env(server: Workspace) -> dict[str, str]:
    """Where the server is, and the key."""
    return {"AKA_SERVER": server.address, "AKA_API_KEY": server.key}


@pytest.fixture
def aka(env: dict[str, str]) -> Aka:
    """Runs a command in this process; the server is in another thread."""

    def run(*arguments: str, stdin: str | bytes | None = None, **more: str) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, env=env | more)

    return run


@pytest.fixture
def known(server: Workspace) -> str:
    """The profile id of user_123, who has an alias, an anonymous id and a user alias."""
    with Client(server.address, api_key=server.key) as client:
        profile_id = client.identify("user_123", anonymous_id="session").profile_id
        client.alias("user_123", "legacy")
    assert profile_id is not None
    return profile_id


def rows(ended: Result) -> list[Any]:
    """Return the JSON objects that a command printed, one a line."""
    return [json.loads(line) for line in ended.stdout.splitlines()]


def table(ended: Result) -> list[list[str]]:
    """Return the words of each line of a table."""
    return [line.split() for line in ended.stdout.splitlines()]


def test_an_alias_is_linked_and_told(aka: Aka, known: str) -> None:
    ended = aka("alias", "user_123", "stripe:cus_1")
    assert table(ended) == [
        ["USER", "ALIAS", "OUTCOME", "PROFILE", "ID", "USER", "ID", "MERGED", "PROFILE", "ID"],
        ["user_123", "stripe:cus_1", "LINKED", known, "user_123", "-"],
    ]
    assert (ended.exit_code, ended.stderr) == (0, "")


def test_json_is_an_object_a_line(aka: Aka, known: str) -> None:
    ended = aka("alias", "user_123", "stripe:cus_1", "--json")
    (row,) = rows(ended)
    assert row == {
        "user": "user_123",
        "alias": "stripe:cus_1",
        "outcome": "LINKED",
        "profile_id": known,
        "user_id": "user_123",
        "merged_profile_id": None,
    }


def test_a_user_may_be_made_joined_and_named_by_a_profile_id(aka: Aka, known: str) -> None:
    assert "CREATED" in aka("alias", "user_9", "a", "--create-missing").stdout
    assert "MERGED" in aka("alias", "user_123", "user_9", "--merge-policy", "always").stdout
    assert "LINKED" in aka("alias", known, "b", "--profile-id").stdout


def test_a_dry_run_changes_nothing(aka: Aka, known: str) -> None:
    assert "LINKED" in aka("alias", "user_123", "a", "--dry-run").stdout
    assert "CREATED" in aka("create-alias", "l", "n", "--dry-run").stdout
    assert "CREATED" in aka("identify", "other", "--dry-run").stdout
    assert known in aka("unlink", "legacy", "--dry-run").stdout
    assert [row["found"] for row in rows(aka("resolve", "--json", "a", "other", "legacy"))] == [False, False, True]


def test_lines_of_stdin_are_done_one_by_one(aka: Aka, known: str) -> None:
    ended = aka("alias", "--json", stdin="user_123\ta\n\nnobody\tb\r\nuser_123\tc")
    first, refused, last = rows(ended)
    assert (first["alias"], first["outcome"]) == ("a", "LINKED")
    assert (refused["user"], refused["alias"], refused["error"]["reason"]) == ("nobody", "b", "USER_NOT_FOUND")
    assert (last["alias"], last["outcome"]) == ("c", "LINKED")
    assert ended.exit_code == 3


def test_the_next_line_is_done_whatever_was_wrong_with_one_and_the_code_is_the_firsts(aka: Aka, known: str) -> None:
    aka("identify", "other")
    ended = aka("alias", "--json", stdin="user_123\tother\nnobody\tb\nuser_123\t\nuser_123\tlast \n")
    told = [row.get("outcome") or row["error"]["reason"] for row in rows(ended)]
    assert told == ["IDENTIFIED_PROFILE", "USER_NOT_FOUND", "FIELD_REQUIRED", "LINKED"]
    assert ended.exit_code == 4
    assert rows(aka("resolve", "--json", "last ", "last"))[0]["profile_id"] == known


def test_what_was_done_before_a_bad_line_is_shown(aka: Aka, known: str) -> None:
    for line in (b"user_123 b\n", b"user_123\t\xff\n"):
        ended = aka("alias", stdin=b"user_123\ta\n" + line)
        assert ended.exit_code == 2
        assert "stdin, line 2: " in ended.stderr
        assert table(ended)[1][1] == "a"


def test_a_user_alias_is_created_and_identified(aka: Aka) -> None:
    made = rows(aka("create-alias", "newsletter", "jane@example.com", "--json"))[0]
    assert (made["label"], made["name"], made["outcome"]) == ("newsletter", "jane@example.com", "CREATED")
    found = rows(aka("identify", "user_1", "--user-alias", "newsletter", "jane@example.com", "--json"))[0]
    assert (found["outcome"], found["profile_id"]) == ("IDENTIFIED", made["profile_id"])
    assert "LINKED" in aka("create-alias", "kiosk", "7", "--user", "user_1").stdout
    assert "CREATED" in aka("create-alias", "--anonymous", "s").stdout
    assert "MERGED" in aka("identify", "user_1", "--anonymous-id", "s", "--merge-behavior", "merge").stdout


def test_identifiers_of_any_kind_are_resolved(aka: Aka, known: str) -> None:
    aka("create-alias", "kiosk", "7", "--user", "user_123")
    for arguments in (["legacy", "session"], ["--profile-id", known], ["--label", "kiosk", "7"]):
        ended = aka("resolve", "--json", *arguments)
        assert {row["profile_id"] for row in rows(ended)} == {known}
        assert ended.exit_code == 0
    assert rows(aka("resolve", "--json", "--label", "kiosk", "7"))[0]["id"] == "kiosk=7"


def test_one_that_is_nobodys_is_told_and_exits_with_3(aka: Aka, known: str) -> None:
    ended = aka("resolve", stdin="legacy\nnobody\n")
    assert table(ended)[1:] == [["legacy", "yes", known, "user_123", "-"], ["nobody", "no", "-", "-", "-"]]
    assert ended.exit_code == 3


def test_an_identifier_that_is_refused_is_told_of_and_those_beside_it_are_resolved(
    aka: Aka, known: str, script: Script
) -> None:
    script.forget()
    ended = aka("resolve", "--json", stdin="legacy\n" + "x" * 401 + "\nnobody\n" + "x" * 402 + "\nsession\n")
    told = [(row.get("found"), row.get("error", {}).get("reason"), row["id"][:7]) for row in rows(ended)]
    assert told == [
        (True, None, "legacy"),
        (None, "INVALID_VALUE", "xxxxxxx"),
        (False, None, "nobody"),
        (None, "INVALID_VALUE", "xxxxxxx"),
        (True, None, "session"),
    ]
    assert ended.exit_code == 2
    assert len(script.seen) == 5


def test_any_number_of_lines_is_resolved_a_thousand_at_once(aka: Aka, script: Script) -> None:
    ended = aka("resolve", "--json", stdin="".join(f"u{number}\n" for number in range(2500)))
    assert [row["id"] for row in rows(ended)] == [f"u{number}" for number in range(2500)]
    assert [len(request.identifiers) for request in script.seen] == [1000, 1000, 500]


def test_a_mark_that_windows_begins_a_file_with_is_no_part_of_an_identifier(aka: Aka, known: str) -> None:
    ended = aka("resolve", "--json", stdin=b"\xef\xbb\xbflegacy\r\nsession\r\n")
    assert [row["profile_id"] for row in rows(ended)] == [known, known]


def test_no_lines_are_no_rows(aka: Aka) -> None:
    ended = aka("resolve", stdin="")
    assert (ended.stdout, ended.stderr, ended.exit_code) == ("", "", 0)


def test_a_profile_is_shown_with_its_identifiers(aka: Aka, known: str) -> None:
    aka("create-alias", "kiosk", "7", "--user", "user_123")
    ended = aka("profile", "legacy")
    words = table(ended)
    assert ["profile", "id", known] in words
    assert [line[:2] for line in words[-4:]] == [
        ["legacy", "ALIAS"],
        ["session", "ANONYMOUS"],
        ["user_123", "PRIMARY"],
        ["kiosk=7", "USER_ALIAS"],
    ]
    (shown,) = rows(aka("profile", "--json", "legacy"))
    assert [{**one, "linked_at": ""} for one in shown["identifiers"]][-1] == {
        "label": "kiosk",
        "name": "7",
        "kind": "USER_ALIAS",
        "linked_at": "",
    }


def test_the_next_profile_is_shown_though_one_is_not_there(aka: Aka, known: str) -> None:
    ended = aka("profile", "--json", "nobody", "legacy")
    missing, found = rows(ended)
    assert (missing["id"], missing["error"]["reason"], found["profile_id"]) == ("nobody", "PROFILE_NOT_FOUND", known)
    assert ended.exit_code == 3


def test_identifiers_are_unlinked(aka: Aka, known: str) -> None:
    ended = aka("unlink", "legacy", "session", "--on", known, "--json")
    assert rows(ended) == [{"id": "legacy", "profile_id": known}, {"id": "session", "profile_id": known}]
    assert aka("unlink", "legacy").exit_code == 3
    assert aka("unlink", "legacy", "--allow-missing").exit_code == 0
    aka("create-alias", "kiosk", "7", "--user", "user_123")
    assert aka("unlink", "--label", "kiosk", "7").exit_code == 0
    assert aka("unlink", "user_123").exit_code == 4


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("INTERNAL", 1),
        ("SELF_ALIAS", 2),
        ("USER_NOT_FOUND", 3),
        ("ALIAS_TAKEN", 4),
        ("IDENTIFIED_PROFILE", 4),
        ("KEY_REVOKED", 5),
        ("PERMISSION_MISSING", 5),
        ("RATE_LIMITED", 6),
        ("OVERLOADED", 6),
        ("CONFLICT", 6),
        ("STORE_UNAVAILABLE", 7),
        ("DEADLINE", 7),
    ],
)
def test_the_exit_code_is_of_the_kind_of_failure(name: str, code: int, aka: Aka, script: Script) -> None:
    script.refuse(reason(name), user_profile_id="p", alias_profile_id="q")
    ended = aka("alias", "u", "a")
    assert ended.exit_code == code
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        f"aka: {name}: as told, user_profile_id p, alias_profile_id q (user 'u', alias 'a', request id "
    )
    assert len(script.seen) == 1


def test_nothing_more_is_tried_where_the_next_would_fail_too(aka: Aka, script: Script) -> None:
    script.refuse(reason("OVERLOADED"))
    assert aka("alias", stdin="u\ta\nv\tb\n").exit_code == 6
    assert len(script.seen) == 1


def test_nobody_there_exits_with_7(aka: Aka) -> None:
    ended = aka("resolve", "u", "--server", "127.0.0.1:1")
    assert ended.exit_code == 7
    assert ended.stderr.startswith("aka: UNAVAILABLE: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["alias", "u"], "2 arguments or none, not 1"),
        (["identify", "u", "v"], "1 argument or none, not 2"),
        (["resolve", "u", "--label", "l", "--profile-id"], "--label, --profile-id: one or the other"),
        (["identify", "u", "--anonymous-id", "a", "--user-alias", "l", "n"], "one or the other"),
        (["resolve", "u", "--server", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["resolve", "u", "--key", " "], "an API key is needed"),
        (["resolve", "u", "--key", "schlüssel"], "no API key has such characters"),
        (["alias", "u", "a", "--merge-policy", "maybe"], "'maybe' is not one of"),
        (["resolve", "\udcff"], "an identifier is not UTF-8"),
        (["resolve", ""], "FIELD_REQUIRED: Missing required field: identifiers[0].id"),
        (["unlink", "a", "--on", "x"], "INVALID_VALUE: profile_id"),
        (["unlink", "a", "--on", ""], "--on: it is empty"),
    ],
)
def test_what_cannot_be_exits_with_2_and_says_why(arguments: list[str], told: str, aka: Aka) -> None:
    ended = aka(*arguments)
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert ended.stdout == ""


def test_a_refused_change_names_both_profiles(aka: Aka, known: str) -> None:
    other = rows(aka("identify", "other", "--json"))[0]["profile_id"]
    ended = aka("alias", "user_123", "other")
    assert ended.exit_code == 4
    assert f"user_profile_id {known}, alias_profile_id {other} (user 'user_123', alias 'other', " in ended.stderr


def test_a_profile_that_is_not_there_is_nobodys(aka: Aka) -> None:
    assert aka("profile", "--profile-id", UNKNOWN_UUID).exit_code == 3


def on_a_terminal(env: dict[str, str], *arguments: str) -> str:
    """Run a command with a terminal for its output, and return what it shows."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen([AKA, *arguments], env=environment() | env | {"COLUMNS": "60"}, stdout=follower)
        os.close(follower)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 4096)
            except OSError:  # the other end is closed
                break
        assert process.wait(60) == 0
    finally:
        os.close(leader)
    return shown.decode()


def test_a_terminal_gets_a_table_with_lines_in_which_nothing_is_cut_or_taken_for_markup(
    aka: Aka, env: dict[str, str], known: str
) -> None:
    aka("alias", "user_123", "[red]legacy-999[/red]")
    shown = on_a_terminal(env, "profile", "[red]legacy-999[/red]")
    assert "─" in shown
    assert "[red]legacy-999[/red]" in shown


def test_without_rich_a_terminal_gets_plain_columns(env: dict[str, str], known: str, tmp_path: Any) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError")
    shown = on_a_terminal(env | {"PYTHONPATH": str(tmp_path)}, "resolve", "legacy")
    assert "─" not in shown
    assert shown.split("\r\n")[1].split() == ["legacy", "yes", known, "user_123", "-"]


def test_a_pipe_gets_plain_columns(env: dict[str, str], known: str) -> None:
    ran = subprocess.run(
        [AKA, "resolve", "legacy"], env=environment() | env, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.splitlines()[1].split() == ["legacy", "yes", known, "user_123", "-"]


@pytest.mark.parametrize(
    ("redirected", "code", "told"),
    [
        ("resolve <&-", 2, "nothing to read on stdin"),
        ("resolve legacy >&-", 0, ""),
        ("resolve legacy --json >/dev/full", 1, "aka: stdin cannot be read, or stdout not be written: No space left"),
        ("resolve legacy --json | true", 0, ""),
    ],
)
def test_what_cannot_be_read_or_written_is_told_in_a_line(
    redirected: str, code: int, told: str, env: dict[str, str], known: str
) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{AKA} {redirected}"], env=environment() | env, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == code
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr
    assert bool(ran.stderr) == bool(told)


def test_what_stdout_has_no_letters_for_is_escaped(env: dict[str, str], known: str) -> None:
    env = environment() | env | {"PYTHONIOENCODING": "latin-1"}
    ran = subprocess.run([AKA, "alias", "user_123", "łódź"], env=env, capture_output=True, timeout=60)
    assert ran.returncode == 0
    assert "łódź".encode("latin-1", "backslashreplace") in ran.stdout


def test_without_arguments_a_terminal_is_not_read(env: dict[str, str]) -> None:
    leader, follower = pty.openpty()
    ran = subprocess.run(
        [AKA, "resolve"], env=environment() | env, stdin=follower, capture_output=True, text=True, timeout=60
    )
    os.close(leader)
    os.close(follower)
    assert ran.returncode == 2
    assert "nothing to read on stdin" in ran.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_tells_the_exit_codes(command: Any) -> None:
    shown = CliRunner().invoke(main, [command.name, "--help"]).stdout
    for code, (told, _) in EXIT_CODES.items():
        assert f"  {code} {told}\n" in shown


def test_no_other_status_has_an_exit_code_twice() -> None:
    statuses = [status for _, of in EXIT_CODES.values() for status in of]
    assert len(statuses) == len(set(statuses))
