"""`aka import` and `aka export`: round trips, bad lines, and going on after whatever broke them off."""

import asyncio
import csv
import fcntl
import gzip
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from click.testing import CliRunner

from aka.server.__main__ import main
from aka.server.link_files import Busy, Changed, Sink
from aka.server.progress import Pace
from aka.server.service import Session
from aka.server.servicer import AliasServicer
from aka.server.store.sqlite_check import check_file
from aka.server.store.store import conflict
from aka.v1 import alias_service_pb2 as v1
from tests.cli.command import AKA, KEY, PATIENCE, Ended, environment, serving
from tests.grpc.wire import Server
from tests.grpc.wire import serving as served

LONG: Final = os.environ.get("AKA_TEST_LONG") == "1"
LINES: Final = 30_000
MILLION: Final = 1_000_000
COLUMNS: Final = ["profile_id", "user_id", "alias_id", "anonymous_id", "alias_label", "alias_name", "linked_at"]

Told = dict[str, str]


def told(link: Told) -> Told:
    """Return a line of an export as it is compared: without its time and what is empty."""
    return {name: value for name, value in link.items() if value and name != "linked_at"}


@dataclass(frozen=True)
class Commands:
    """The commands, with files in a folder, asking a server."""

    folder: Path
    address: str
    key: str = KEY

    @property
    def env(self) -> dict[str, str]:
        return {"AKA_SERVER": self.address, "AKA_API_KEY": self.key}

    async def run(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run a command in this process, as a process of its own would: that takes a second less."""
        runner = CliRunner(env=environment() | self.env)
        ended = await asyncio.to_thread(runner.invoke, main, self._paths(arguments), stdin)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Ended(ended.exit_code, ended.stdout, ended.stderr.replace(f"{self.folder}/", ""))

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Begin a command in a process of its own."""
        command = [AKA, *self._paths(arguments)]
        env = environment() | self.env
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def write(self, name: str, content: bytes | str) -> str:
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def rejects(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.rejects.ndjson"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def exported(self, name: str = "check.csv") -> list[Told]:
        """Return all links that the server has."""
        ended = await self.run("export", name, "--replace")
        assert ended.code == 0, ended.err
        with (self.folder / name).open(newline="", encoding="utf-8") as file:
            return [told(link) for link in csv.DictReader(file)]

    def _paths(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments with the file, which is the second one, in the folder."""
        command, file, *rest = arguments
        return [command, file if file == "-" else str(self.folder / file), *rest]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with served(tmp_path / "aka.db") as running:
        yield running


@pytest.fixture
def commands(server: Server, tmp_path: Path) -> Commands:
    """The commands, asking an empty server."""
    return Commands(tmp_path, server.address)


def ids(links: Sequence[Told]) -> set[tuple[str, ...]]:
    """Return links without the profile ids."""
    return {tuple(value for name, value in link.items() if name != "profile_id") for link in links}


def names(folder: Path) -> set[str]:
    """Return the files of a folder but the database's."""
    return {path.name for path in folder.iterdir() if not path.name.startswith("aka.db")}


# What is read.


async def test_a_csv_file_of_users_and_aliases_is_imported(commands: Commands) -> None:
    file = commands.write("l.csv", "user_id,alias_id\nu,a\nu,b\nv,c\nv,\n")
    ended = await commands.run("import", file)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("4 links imported in ")
    assert ended.err.endswith(": 2 created, 1 linked, 0 identified, 0 merged, 1 already linked\n")
    assert ids(await commands.exported()) == {("u",), ("u", "a"), ("u", "b"), ("v",), ("v", "c")}
    assert names(commands.folder) == {"l.csv", "check.csv"}


async def test_every_kind_of_link_is_imported_from_either_format(commands: Commands) -> None:
    first = 'alias_name,alias_label,anonymous_id,user_id\n"a,""b""",crm,,u\n,,x,u\n,,y,\n'
    second = [{"user_id": "v", "alias_id": "ä"}, {"anonymous_id": "z", "user_id": None}]
    assert (await commands.run("import", commands.write("l.csv", first))).code == 0
    assert (await commands.run("import", commands.write("l.jsonl", "\n".join(map(json.dumps, second))))).code == 0
    links = await commands.exported()
    assert {("u",), ("u", "crm", 'a,"b"'), ("u", "x"), ("y",), ("v",), ("v", "ä"), ("z",)} == ids(links)
    assert {link["anonymous_id"] for link in links if "anonymous_id" in link} == {"x", "y", "z"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfuser_id,alias_id\r\nu,a\r\n\r\nv,b\r\n",
        b"user_id,alias_id\nu,a\n\n\nv,b",
        b'"user_id"," alias_id "\n"u","a"\n"v","b"\n',
        gzip.compress(b"user_id,alias_id\nu,a\n") + gzip.compress(b"v,b\n"),
    ],
    ids=["BOM and CRLF", "blank lines and no last end", "quotes", "gzip"],
)
async def test_a_file_is_read_however_it_was_written(commands: Commands, content: bytes) -> None:
    name = "l.csv.gz" if content.startswith(b"\x1f\x8b") else "l.csv"
    assert (await commands.run("import", commands.write(name, content))).code == 0
    assert ids(await commands.exported()) == {("u",), ("u", "a"), ("v",), ("v", "b")}


async def test_stdin_is_imported_and_stdout_is_exported_to(commands: Commands) -> None:
    sent = b'{"user_id": "u", "alias_id": "a"}\n'
    assert (await commands.run("import", "-", "--format", "ndjson", stdin=sent)).code == 0
    shown = await commands.run("export", "-", "--format", "ndjson")
    links = [json.loads(line) for line in shown.out.splitlines()]
    assert ids([told(link) for link in links]) == {("u",), ("u", "a")}
    assert shown.err.startswith("2 links exported")
    assert names(commands.folder) == set()


async def test_a_dry_run_tells_what_would_be_and_changes_nothing(commands: Commands) -> None:
    ended = await commands.run("import", commands.write("l.csv", "user_id\nu\nnull\n"), "--dry-run")
    assert (ended.code, ended.err.startswith("1 links would be imported")) == (4, True)
    assert await commands.exported() == []


@pytest.mark.parametrize(("policy", "code"), [("never", 4), ("anonymous", 4), ("always", 0)])
async def test_the_merge_policy_says_what_is_joined(commands: Commands, policy: str, code: int) -> None:
    file = commands.write("l.csv", "user_id,alias_id\nu,\nv,\nu,v\n")
    assert (await commands.run("import", file, "--merge-policy", policy)).code == code


# Lines that are rejected.


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        (b"u,\xff", "INVALID_VALUE", "is not UTF-8 at byte 2"),
        (b"u,\xed\xa0\x80", "INVALID_VALUE", "is not UTF-8 at byte 2"),
        (b"u,a\x00b", "INVALID_VALUE", "alias_id has a control character (U+0000)"),
        (b'"u,a', "INVALID_VALUE", "is no CSV"),
        (b'"u"x,a', "INVALID_VALUE", "is no CSV"),
        (b"u", "INVALID_VALUE", "has 1 fields; the header has 2"),
        (b"u,a,b", "INVALID_VALUE", "has 3 fields; the header has 2"),
        (b",a", "FIELD_REQUIRED", "Missing required field: user_id"),
        (b"u,u", "SELF_ALIAS", "alias_id is the very id"),
        (b"null,a", "RESERVED_IDENTIFIER", "user_id is 'null'"),
        (b"u," + b"a" * 401, "INVALID_VALUE", "alias_id is 401 bytes long"),
        (b"u," + b"a" * 65536, "INVALID_VALUE", "is longer than 65536 bytes"),
        (b"u," + b"a" * 5_000_000, "INVALID_VALUE", "is longer than 65536 bytes"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
async def test_a_bad_line_of_csv_is_rejected_and_those_beside_it_are_imported(
    commands: Commands, row: bytes, reason: str, message: str
) -> None:
    file = commands.write("l.csv", b"user_id,alias_id\nfirst,1\n" + row + b"\nlast,2\n")
    ended = await commands.run("import", file)
    assert (ended.code, ended.errors[-1]) == (4, f"aka: 1 lines were rejected; see {file}.rejects.ndjson")
    (reject,) = commands.rejects(file)
    assert (reject["line"], reject["reason"]) == (3, reason)
    assert message in reject["message"]
    assert reject["row"] == row[:65536].decode(errors="backslashreplace")
    assert {"first", "last"} <= {link["user_id"] for link in await commands.exported()}


@pytest.mark.parametrize(
    "row",
    [
        *("{", "[]", "1", "null", '{"user_id": 1}', '{"user_id": "u", "colour": "red"}', '{"user_id": "\\ud800"}'),
        *('{"user_id": "u"} x', "[" * 10_000, '{"user_id": "u", "alias_id": "a", "anonymous_id": "b"}'),
        '{"user_id": "u", "alias_label": "l"}',
    ],
    ids=lambda row: row[:20],
)
async def test_a_bad_line_of_ndjson_is_rejected(commands: Commands, row: str) -> None:
    file = commands.write("l.ndjson", f'{{"user_id": "first"}}\n{row}\n{{"user_id": "last"}}\n')
    assert (await commands.run("import", file)).code == 4
    (reject,) = commands.rejects(file)
    assert (reject["line"], reject["row"]) == (2, row)
    assert ids(await commands.exported()) == {("first",), ("last",)}


async def test_the_rejects_hold_the_lines_from_which_a_file_can_be_mended(commands: Commands) -> None:
    file = commands.write("l.csv", "user_id,alias_id\nu,u\nu,a\nu\n")
    await commands.run("import", file)
    rows = [reject["row"] for reject in commands.rejects(file)]
    assert rows == ["u,u", "u"]
    mended = commands.write(
        "again.csv", "user_id,alias_id\n" + "\n".join(row.replace("u,u", "u,b") for row in rows[:1])
    )
    assert (await commands.run("import", mended)).code == 0
    assert (await commands.run("import", commands.write("l.csv", "user_id\nu\n"))).code == 0
    assert not (commands.folder / "l.csv.rejects.ndjson").exists(), "what was rejected before is no longer"


async def test_thousands_of_rejected_lines_are_all_told_in_order(commands: Commands) -> None:
    lines = [f"u{number},{'u' if number % 3 else 'x'}{number}" for number in range(9000)]
    file = commands.write("l.csv", "user_id,alias_id\n" + "\n".join(lines))
    assert (await commands.run("import", file)).code == 4
    rejects = commands.rejects(file)
    assert [reject["line"] for reject in rejects] == [number + 2 for number in range(9000) if number % 3]
    assert len(await commands.exported()) == 6000


async def test_lines_of_the_greatest_length_fit_into_messages(commands: Commands) -> None:
    """Or a thousand of them would be sixty times what a message may have."""
    lines = [f"{number:065000}" for number in range(300)]
    file = commands.write("l.csv", "user_id\n" + "\n".join(lines))
    assert (await commands.run("import", file)).code == 4
    assert {(reject["reason"], len(reject["row"])) for reject in commands.rejects(file)} == {("INVALID_VALUE", 65000)}
    assert len(commands.rejects(file)) == 300


# Files that cannot be imported.


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"user,alias\nu,a\n", "has a column 'user'"),
        (b"user_id;alias_id\nu;a\n", "has a column 'user_id;alias_id'"),
        (b"user_id,user_id\nu,u\n", "has the column 'user_id' twice"),
        (b"\xff\xfeu\x00s\x00", "begins with a line that is not UTF-8"),
        (b'"user_id\n', "begins with a line that is no CSV"),
        (b"x" * 70_000, "begins with a line that is longer"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
async def test_a_csv_file_without_a_good_header_is_not_imported(commands: Commands, content: bytes, why: str) -> None:
    ended = await commands.run("import", commands.write("l.csv", content))
    assert (ended.code, why in ended.err) == (2, True), ended.err
    assert await commands.exported() == []


async def test_an_ndjson_file_without_a_line_is_imported(commands: Commands) -> None:
    ended = await commands.run("import", commands.write("l.ndjson", ""))
    assert (ended.code, ended.err.startswith("0 links imported")) == (0, True)


async def test_a_file_that_is_not_what_its_name_says_is_told_in_one_line(commands: Commands) -> None:
    for name, content in (("l.csv.gz", b"user_id\n"), ("cut.csv.gz", gzip.compress(b"user_id\nu\n" * 999)[:-9])):
        ended = await commands.run("import", commands.write(name, content))
        assert (ended.code, len(ended.errors)) == (1, 1), ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["import", "missing.csv"], 1, "missing.csv: No such file or directory"),
        (["import", "l.txt"], 2, "--format: the name of l.txt does not tell"),
        (["import", "-", "--format", "csv", "--resume"], 2, "only a file can be gone on with"),
        (["export", "there.csv"], 1, "there.csv is there already; --replace replaces it"),
        (["export", "no/such/folder.csv"], 1, "No such file or directory"),
        (["import", "there.csv", "--key", "the-key-of-nobody-at-all"], 5, "KEY_INVALID"),
        (["export", "x.csv", "--key", "the-key-of-nobody-at-all"], 5, "KEY_INVALID"),
        (["import", "there.csv", "--server", "127.0.0.1:1", "--patience", "0"], 7, "UNAVAILABLE"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
async def test_what_cannot_be_is_told_in_one_line_with_its_code(
    commands: Commands, arguments: list[str], code: int, told: str
) -> None:
    commands.write("there.csv", "user_id\nu\n")
    ended = await commands.run(*arguments)
    assert (ended.code, len(ended.errors)) == (code, 1), ended.err
    assert told in ended.err


async def test_an_export_needs_its_permission(server: Server, commands: Commands) -> None:
    ended = await replace(commands, key=server.all_but("profiles.export")).run("export", "x.csv")
    assert (ended.code, "PERMISSION_MISSING" in ended.err) == (5, True)


# Round trips.


@pytest.mark.parametrize("name", ["out.csv", "out.ndjson", "out.csv.gz", "out.jsonl.gz"])
async def test_an_export_that_is_imported_into_an_empty_aka_is_the_same_export(
    commands: Commands, tmp_path: Path, name: str
) -> None:
    rows = [
        *('{"user_id": "u", "alias_id": "a"}', '{"user_id": "u", "anonymous_id": "x"}', '{"anonymous_id": "alone"}'),
        *(
            '{"user_id": "u", "alias_label": "crm", "alias_name": "1"}',
            '{"alias_label": "\\"q\\"", "alias_name": "=1+1,"}',
        ),
        *(
            '{"user_id": "v", "alias_id": "w"}',
            '{"user_id": "  blanks  "}',
            '{"user_id": "\\u00e9\\u0301\\ud83d\\ude00"}',
        ),
    ]
    await commands.run("import", commands.write("l.ndjson", "\n".join(rows)))
    merge = '{"user_id": "u", "alias_id": "v"}'
    assert (await commands.run("import", commands.write("m.ndjson", merge), "--merge-policy", "always")).code == 0
    before = await commands.exported()
    assert len(before) == 10
    assert (await commands.run("export", name)).code == 0
    async with served(tmp_path / "empty.db") as empty:
        elsewhere = replace(commands, address=empty.address)
        ended = await elsewhere.run("import", name)
        assert ended.code == 0, ended.err
        assert await elsewhere.exported() == before


async def test_a_csv_export_has_a_header_and_times(commands: Commands) -> None:
    await commands.run("import", commands.write("l.csv", "user_id\nu\n"))
    await commands.run("export", "out.csv")
    header, row = (commands.folder / "out.csv").read_text().splitlines()
    assert header.split(",") == COLUMNS
    assert row.endswith("Z")


# Broken off, and gone on with.


def many(folder: Path, lines: int = LINES) -> str:
    """Write a file of users with two aliases each."""
    with (folder / "many.csv").open("w") as file:
        file.write("user_id,alias_id\n")
        file.writelines(f"user-{number // 2},{number}x\n" for number in range(lines))
    return "many.csv"


async def assert_all_is_there(commands: Commands, lines: int = LINES) -> None:
    """Whether each user and alias of `many` is there once, and no other."""
    expected: set[tuple[str, ...]] = {(f"user-{number // 2}", f"{number}x") for number in range(lines)}
    expected |= {(f"user-{number}",) for number in range(lines // 2)}
    found = await commands.exported()
    assert len(found) == len(expected)
    assert ids(found) == expected


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


async def until_changed(state: Path, before: bytes | None, begun: "subprocess.Popen[str]") -> None:
    """Return when an import that is under way has noted that it is further."""
    while _content(state) in (None, before):
        assert begun.poll() is None, begun.communicate()
        await asyncio.sleep(0.002)


@pytest.mark.timeout(600)
async def test_an_import_that_is_killed_in_the_middle_and_gone_on_with_comes_to_the_same(commands: Commands) -> None:
    file = many(commands.folder)
    lines = (commands.folder / file).read_bytes().splitlines(keepends=True)
    for number in range(5000, LINES, 7000):
        lines[number] = b"null,bad\n" + lines[number]
    commands.write(file, b"".join(lines))
    state = commands.folder / f"{file}.import-state"
    for _ in range(2):
        before = _content(state)
        begun = commands.begin("import", file, "--resume")
        await until_changed(state, before, begun)
        begun.kill()
        begun.communicate()
    done = json.loads(state.read_bytes())["lines"]
    assert 0 < done < LINES
    ended = await commands.run("import", file, "--resume")
    assert (ended.code, state.exists()) == (4, False), ended.err
    rejects = [reject["line"] for reject in commands.rejects(file)]
    assert rejects == [number + 1 + place for place, number in enumerate(range(5000, LINES, 7000))]
    await assert_all_is_there(commands)


@pytest.mark.timeout(600)
async def test_an_import_goes_on_by_itself_when_a_killed_and_then_a_stopped_server_is_back(tmp_path: Path) -> None:
    file = many(tmp_path)
    state = tmp_path / f"{file}.import-state"
    settings, begun = {"rate_limit": "off"}, None
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = _content(state)
        with serving(cwd=tmp_path, settings=settings) as server:
            commands = Commands(tmp_path, server.address)
            begun = begun or commands.begin("import", file, "--quiet")
            await until_changed(state, before, begun)
            server.stop(number)
        settings |= {"grpc_address": server.address}
    assert begun is not None
    assert begun.poll() is None, "it was done before the server was"
    async with served(tmp_path / "aka.db", address=server.address):
        out, err = await asyncio.to_thread(begun.communicate, timeout=10 * PATIENCE)
        assert (begun.returncode, out) == (0, ""), err
        assert err.startswith(f"{LINES:,} links imported in ")
        await assert_all_is_there(commands)
    assert check_file(str(tmp_path / "aka.db")).faults == []


@pytest.mark.parametrize("name", ["out.csv", "out.ndjson.gz"])
async def test_what_a_rate_limit_broke_off_is_gone_on_with(tmp_path: Path, name: str) -> None:
    file = many(tmp_path)
    async with served(tmp_path / "aka.db", rate_limit="12000/day") as limited:
        ended = await Commands(tmp_path, limited.address).run("import", file)
        assert (ended.code, "RATE_LIMITED" in ended.err, "--resume" in ended.err) == (6, True, True)
    async with served(tmp_path / "aka.db", address=limited.address) as server:
        commands = Commands(tmp_path, server.address)
        assert (await commands.run("import", file, "--resume")).code == 0
        await assert_all_is_there(commands)
    async with served(tmp_path / "aka.db", rate_limit="25/day", address=limited.address):
        ended = await commands.run("export", name)
        assert (ended.code, "RATE_LIMITED" in ended.err, (tmp_path / name).exists()) == (6, True, False)
        assert json.loads((tmp_path / f"{name}.export-state").read_bytes())["links"] == 25_000
    async with served(tmp_path / "aka.db", address=limited.address):
        assert (await commands.run("export", name, "--resume")).code == 0
        assert (await commands.run("export", f"whole-{name}")).code == 0
    opened: Any = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rb") as one, opened(tmp_path / f"whole-{name}", "rb") as other:
        assert one.read() == other.read()
    assert names(tmp_path) == {file, name, f"whole-{name}", "check.csv"}


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_a_limit_that_lets_less_than_a_call_pass_does_not_keep_an_import_from_its_end(
    tmp_path: Path, form: str
) -> None:
    users = [f"u{number:04}" if number % 500 else "null" for number in range(5000)]
    lines = ["user_id", *users] if form == "csv" else [json.dumps({"user_id": user}) for user in users]
    (tmp_path / f"l.{form}").write_text("\n".join(lines))
    done = []
    address = "127.0.0.1:0"
    for _ in range(3):
        async with served(tmp_path / "aka.db", rate_limit="2500/day", address=address) as server:
            address, commands = server.address, Commands(tmp_path, server.address)
            ended = await commands.run("import", f"l.{form}", "--resume", "--patience", "0")
            state = tmp_path / f"l.{form}.import-state"
            done.append(json.loads(state.read_bytes())["rows"] if state.exists() else ended.code)
    assert done == [2000, 4000, 4]
    assert "4,990 links imported" in ended.err
    assert "4,990 created" in ended.err
    first = 2 if form == "csv" else 1
    assert [reject["line"] for reject in commands.rejects(f"l.{form}")] == list(range(first, 5000, 500))
    assert names(tmp_path) == {f"l.{form}", f"l.{form}.rejects.ndjson"}


async def test_lines_that_are_no_links_are_told_of_once_where_a_call_is_broken_off_beside_them(tmp_path: Path) -> None:
    bad = ["x,x,x"] * 3
    lines = ["user_id,alias_id", *bad, *(f"u{number}," for number in range(1000)), *bad, "last,", *bad]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    async with served(tmp_path / "aka.db", rate_limit="1000/day") as server:
        commands = Commands(tmp_path, server.address)
        assert (await commands.run("import", "l.csv", "--patience", "0")).code == 6
    assert json.loads((tmp_path / "l.csv.import-state").read_bytes())["ahead"] == 1006
    async with served(tmp_path / "aka.db", address=server.address):
        assert (await commands.run("import", "l.csv", "--resume")).code == 4
    assert [reject["line"] for reject in commands.rejects("l.csv")] == [2, 3, 4, 1005, 1006, 1007, 1009, 1010, 1011]


async def test_a_limit_that_lets_less_than_a_piece_pass_does_not_keep_an_export_from_its_end(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("\n".join(["user_id", *(f"u{number}" for number in range(5000))]))
    async with served(tmp_path / "aka.db") as server:
        commands = Commands(tmp_path, server.address)
        assert (await commands.run("import", "l.csv")).code == 0
        assert (await commands.run("export", "whole.csv")).code == 0
    codes = []
    for _ in range(3):
        async with served(tmp_path / "aka.db", rate_limit="2/day", address=server.address):
            codes.append((await commands.run("export", "out.csv", "--resume", "--patience", "0")).code)
    assert codes == [6, 6, 0]
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


async def test_an_export_is_not_gone_on_with_in_another_workspace(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("\n".join(["user_id", *(f"u{number}" for number in range(1500))]))
    async with served(tmp_path / "aka.db") as server:
        commands = Commands(tmp_path, server.address)
        assert (await commands.run("import", "l.csv")).code == 0
    async with served(tmp_path / "aka.db", rate_limit="1/day", address=server.address) as server:
        assert (await commands.run("export", "out.csv", "--patience", "0")).code == 6
        other = replace(commands, key=server.add_key("profiles.export", workspace="acme"))
        ended = await other.run("export", "out.csv", "--resume")
    assert (ended.code, "resume_token is no token" in ended.err, "goes on with it" in ended.err) == (2, True, False)


async def test_one_file_is_imported_by_one_command_at_a_time(commands: Commands) -> None:
    file = commands.write("l.csv", "user_id\nu\n")
    with (commands.folder / file).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = await commands.run("import", file)
        assert (ended.code, ended.err) == (1, "aka: l.csv: another import of it is under way\n")
        assert (await commands.run("import", file, "--dry-run")).code == 0
    assert (await commands.run("import", file)).code == 0


async def test_one_file_is_exported_to_by_one_command_at_a_time(commands: Commands) -> None:
    part = commands.folder / "out.csv.part"
    part.write_text("of another")
    with part.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = await commands.run("export", "out.csv")
        assert (ended.code, ended.err) == (1, "aka: out.csv: another export of it is under way\n")
        assert part.read_text() == "of another"
    assert (await commands.run("export", "out.csv")).code == 0


def test_a_file_is_gone_on_with_behind_what_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "part"
    file.write_bytes(b"kept, and more")
    sink = Sink(file, 4)
    sink.write(b"!")
    assert sink.keep() == 5
    sink.close()
    assert file.read_bytes() == b"kept!"
    with pytest.raises(Changed):
        Sink(file, 6)
    assert file.read_bytes() == b"kept!"


@pytest.mark.parametrize("other", [{"server": "elsewhere:1"}, {"format": "ndjson"}])
async def test_another_export_is_not_gone_on_with(commands: Commands, other: Told) -> None:
    state = {"server": commands.address, "format": "csv"} | other
    commands.write("out.csv.export-state", json.dumps(state))
    ended = await commands.run("export", "out.csv", "--resume")
    assert (ended.code, "tells of another export than this one" in ended.err) == (2, True)


def test_a_file_that_another_puts_where_it_belongs_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, whole = tmp_path / "part", tmp_path / "whole"
    for rest in (None, "begun anew"):
        part.write_text("all")

        def put(_: object, rest: str | None = rest) -> None:
            part.replace(whole)
            if rest is not None:
                part.write_text(rest)

        monkeypatch.setattr("aka.server.link_files._lock", put)
        with pytest.raises(Busy):
            Sink(part, 0)
        assert whole.read_text() == "all"


async def test_a_dry_run_leaves_what_a_broken_off_import_needs(tmp_path: Path) -> None:
    lines = ["user_id", "null", *(f"u{number}" for number in range(2000))]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    async with served(tmp_path / "aka.db", rate_limit="1000/day") as server:
        commands = Commands(tmp_path, server.address)
        assert (await commands.run("import", "l.csv", "--patience", "0")).code == 6
    async with served(tmp_path / "aka.db", address=server.address):
        before = [_content(tmp_path / name) for name in ("l.csv.import-state", "l.csv.rejects.ndjson")]
        assert (await commands.run("import", "l.csv", "--dry-run", "--resume")).code == 2
        assert (await commands.run("import", "l.csv", "--dry-run")).code == 4
        assert len(commands.rejects("l.csv.dry-run")) == 1
        assert [_content(tmp_path / name) for name in ("l.csv.import-state", "l.csv.rejects.ndjson")] == before
        assert (await commands.run("import", "l.csv", "--resume")).code == 4
    assert len(commands.rejects("l.csv")) == 1


async def test_what_is_no_file_is_not_replaced(commands: Commands) -> None:
    os.mkfifo(commands.folder / "device.csv")
    commands.write("l.csv", "user_id\nu\n")
    ended = await commands.run("import", "l.csv", "--rejects", str(commands.folder / "device.csv"))
    assert (ended.code, ended.err) == (2, "aka: --rejects: device.csv is no file\n")
    ended = await commands.run("export", "device.csv", "--replace")
    assert (ended.code, ended.err) == (2, "aka: device.csv is no file; - is stdout\n")
    assert (commands.folder / "device.csv").is_fifo()


@pytest.mark.parametrize("redirected", ["import - <&-", "export - >&-", "export - >/dev/full"])
async def test_a_stream_that_is_closed_or_full_is_told_in_one_line(commands: Commands, redirected: str) -> None:
    command = f"{AKA} {redirected} --format csv"
    env = environment() | commands.env
    ran = await asyncio.to_thread(subprocess.run, ["sh", "-c", command], env=env, capture_output=True, text=True)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1), ran.stderr
    assert ran.stderr.startswith("aka: -: ")


async def test_an_export_that_is_cut_again_and_again_has_every_link_once(tmp_path: Path) -> None:
    cuts: list[v1.ExportLinksResponse] = []

    class Cut(AliasServicer):
        async def ExportLinks(
            self, request: v1.ExportLinksRequest, session: Session
        ) -> AsyncIterator[v1.ExportLinksResponse]:
            async for message in super().ExportLinks(request, session):
                yield message
                if len(message.links) == 1000 and len(cuts) < 20:
                    cuts.append(message)
                    raise conflict()

    (tmp_path / "l.csv").write_text("\n".join(["user_id", *(f"u{number:04}" for number in range(9500))]))
    async with served(tmp_path / "aka.db", servicer=Cut) as server:
        commands = Commands(tmp_path, server.address)
        assert (await commands.run("import", "l.csv")).code == 0
        # Each cut is followed by a wait of at most 0.1 s; were they not forgotten, the third wait would be too long.
        ended = await commands.run("export", "out.csv", "--patience", "0.2")
    assert (ended.code, ended.err.partition(" in ")[0]) == (0, "9,500 links exported")
    with (tmp_path / "out.csv").open() as file:
        assert [row["user_id"] for row in csv.DictReader(file)] == [f"u{number:04}" for number in range(9500)]


async def test_an_export_that_brings_nothing_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(AliasServicer):
        async def ExportLinks(
            self, request: v1.ExportLinksRequest, session: Session
        ) -> AsyncIterator[v1.ExportLinksResponse]:
            async for message in super().ExportLinks(request, session):
                yield message
            await asyncio.Event().wait()

    monkeypatch.setattr("aka.server.link_calls.CALL_SECONDS", 0.5)
    async with served(tmp_path / "aka.db", servicer=Silent) as server:
        ended = await Commands(tmp_path, server.address).run("export", "out.csv", "--patience", "0")
    assert (ended.code, "DEADLINE_EXCEEDED" in ended.err) == (7, True)


async def test_an_error_whose_details_cannot_be_read_is_told_by_its_status(tmp_path: Path) -> None:
    async def refuse(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not here", (("grpc-status-details-bin", b"\xff"),))
        yield b""

    proxy = grpc.aio.server()
    handlers: Any = {"ExportLinks": grpc.unary_stream_rpc_method_handler(refuse)}
    proxy.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("aka.v1.AliasService", handlers),))
    port = proxy.add_insecure_port("127.0.0.1:0")
    await proxy.start()
    try:
        ended = await Commands(tmp_path, f"127.0.0.1:{port}").run("export", "out.csv")
    finally:
        await proxy.stop(None)
    assert (ended.code != 0, "PERMISSION_DENIED: not here" in ended.err) == (True, True), ended


async def test_another_file_is_not_gone_on_with(commands: Commands) -> None:
    file = commands.write("l.csv", "user_id\nu\nv\n")
    state = {"server": commands.address, "format": "csv", "header": "user_id", "offset": 10, "lines": 2, "digest": "0"}
    commands.write("l.csv.import-state", json.dumps(state))
    ended = await commands.run("import", file, "--resume")
    assert (ended.code, "tells of another import than this one" in ended.err) == (2, True)
    commands.write("l.csv.import-state", "{")
    assert (await commands.run("import", file, "--resume")).code == 2
    commands.write("l.csv.import-state", json.dumps(state | {"server": "elsewhere:1"}))
    assert (await commands.run("import", file, "--resume")).code == 2
    assert (await commands.run("import", file)).code == 0


async def test_an_import_that_was_not_broken_off_begins_at_the_beginning(commands: Commands) -> None:
    file = commands.write("l.csv", "user_id\nu\nv\n")
    for _ in range(2):
        assert (await commands.run("import", file, "--resume")).err.startswith("2 links imported")


# How far it is.


def test_the_pace_is_that_since_the_beginning_of_this_run() -> None:
    now = iter([100.0, 110.0, 120.0])
    pace = Pace(lambda: next(now))
    assert pace.tell(1_000_000, 0.5) == "1,000,000 links, 50%"
    assert pace.tell(1_050_000, 0.6) == "1,050,000 links, 5,000/s, 60%, 0:00:40 left"
    assert pace.tell(1_100_000, None) == "1,100,000 links, 5,000/s"


@pytest.mark.skipif(not LONG, reason="a million lines: AKA_TEST_LONG=1")
@pytest.mark.timeout(900)
async def test_a_million_lines_take_no_more_memory_than_some(commands: Commands) -> None:
    file = many(commands.folder, MILLION)
    measure = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
    measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    for arguments in (["import", file], ["export", "out.csv"]):
        ran = await asyncio.to_thread(
            subprocess.run,
            [str(Path(AKA).with_name("python")), "-c", measure, AKA, *arguments],
            cwd=commands.folder,
            env=environment() | commands.env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(ran.stdout.split()[-1]) < 256 * 1024  # KiB
    await assert_all_is_there(commands, MILLION)
