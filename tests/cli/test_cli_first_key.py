"""The first API key: given or made up, where it may be seen, and the lines that say how to call."""

import asyncio
import os
import pty
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import grpc
import httpx
import pytest

from aka.server import bootstrap, keys
from aka.server.config import SettingsError, read_settings
from aka.server.store.sqlite import SqliteStore
from tests.cli.command import AKA, KEY, PATIENCE, READY, aka, environment, identify, linked, pasted, serving
from tests.cli.conftest import Run

LAST_LINE = b"AliasService/Resolve\r\n"

MADE_UP = re.compile(r"aka_[0-9a-f]{40}")


def everything_in(folder: Path) -> bytes:
    """Return the bytes of every file in a folder but the file of a made-up key."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".key")


@contextmanager
def on_a_terminal(cwd: Path, **settings: str) -> Iterator[str]:
    """Run `aka serve` with a terminal as stderr; yield what the terminal shows by then."""
    ours, theirs = pty.openpty()
    command = [AKA, "serve"]
    env = environment(**settings)
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        try:
            assert process.stdout is not None
            assert READY.fullmatch(process.stdout.readline())
            shown = b""
            while LAST_LINE not in shown:  # it was written before the ready line, but a terminal takes its time
                shown += os.read(ours, 4096)
            yield shown.decode().replace("\r\n", "\n")
        finally:
            process.terminate()
            process.wait(PATIENCE)
            os.close(ours)


def test_a_given_key_is_printed_and_kept_nowhere(served: Run) -> None:
    assert KEY not in served.ended.out + served.ended.err
    assert KEY.encode() not in everything_in(served.folder)
    assert not list(served.folder.glob("*.key*"))


def test_no_part_of_a_given_key_is_kept_as_its_prefix(used: Path) -> None:
    with closing(sqlite3.connect(used / "aka.db")) as connection:
        assert connection.execute("SELECT prefix FROM api_keys").fetchall() == [("",)]


def test_an_empty_first_key_is_none() -> None:
    assert read_settings({"AKA_BOOTSTRAP_API_KEY": ""}, {}).bootstrap_api_key is None


@pytest.mark.parametrize("key", ["x" * 19, "twenty characters and blanks", "caf\u00e9" * 10, "tab\t" * 10])
def test_a_key_that_is_too_short_or_no_header_is_a_wrong_setting_and_is_not_told_back(key: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({"AKA_BOOTSTRAP_API_KEY": key}, {})
    assert not key or key not in str(error.value)


def test_a_key_that_is_too_short_ends_with_2_and_is_not_printed(tmp_path: Path) -> None:
    ended = aka("serve", cwd=tmp_path, env=environment(bootstrap_api_key="nineteen-characters"))
    assert (ended.code, ended.out, len(ended.errors)) == (2, "", 1)
    assert "AKA_BOOTSTRAP_API_KEY" in ended.err
    assert "nineteen-characters" not in ended.err


def test_a_given_key_is_not_installed_in_a_database_that_has_one(used: Path) -> None:
    with serving(cwd=used, key="another-key-of-some-length") as server:
        assert server.call("Identify", identify("u"), KEY)
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            server.call("Identify", identify("u"), "another-key-of-some-length")


def test_a_made_up_key_is_in_a_file_that_only_its_owner_may_read(served_on_its_own: Run) -> None:
    file = served_on_its_own.folder / "aka.db.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert MADE_UP.fullmatch(file.read_text().strip())


def test_a_made_up_keys_file_is_named_and_the_key_is_printed_and_kept_nowhere_else(served_on_its_own: Run) -> None:
    folder, ended = served_on_its_own.folder, served_on_its_own.ended
    key = (folder / "aka.db.key").read_text().strip()
    assert str(folder / "aka.db.key") in ended.err
    assert key not in ended.out + ended.err
    assert key.encode() not in everything_in(folder)


def test_a_restart_makes_no_other_key(served_on_its_own: Run, tmp_path: Path) -> None:
    folder = copytree(served_on_its_own.folder, tmp_path / "again")
    key = (folder / "aka.db.key").read_text()
    with serving(cwd=folder, key=None) as server:
        assert server.call("Identify", identify("u"), key.strip())
    assert {path.name: path.read_text() for path in folder.glob("*.key*")} == {"aka.db.key": key}


def test_a_new_databases_key_takes_the_place_of_an_old_ones(tmp_path: Path) -> None:
    file = tmp_path / "aka.db.key"
    file.write_text("an older database's key\n")
    file.chmod(0o644)
    with serving(cwd=tmp_path, key=None) as server:
        server.call("Identify", identify("u"), file.read_text().strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_that_cannot_be_written_down_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "aka.db.key.new").mkdir()
    ended = aka("serve", cwd=tmp_path)
    assert (ended.code, len(ended.errors)) == (1, 1)
    with closing(sqlite3.connect(tmp_path / "aka.db")) as connection:
        assert connection.execute("SELECT * FROM api_keys").fetchall() == []


def first_key(folder: Path) -> str:
    """Open a database, let it have its first key, and return what is in the only file of a key there is."""

    async def start() -> None:
        store = await SqliteStore.open(str(folder / "aka.db"))
        try:
            await bootstrap.add_first_key(store, None, folder / "aka.db.key")
        finally:
            await store.close()

    asyncio.run(start())
    [file] = folder.glob("*.key*")
    assert file.name == "aka.db.key"
    key = file.read_text().strip()
    with closing(sqlite3.connect(folder / "aka.db")) as connection:
        assert connection.execute("SELECT digest FROM api_keys").fetchall() == [(keys.digest(key),)]
    return key


def test_a_key_that_was_installed_when_a_start_was_cut_off_is_not_lost(tmp_path: Path) -> None:
    key = first_key(tmp_path)
    (tmp_path / "aka.db.key").rename(tmp_path / "aka.db.key.new")
    assert first_key(tmp_path) == key


def test_a_key_that_was_not_yet_installed_when_a_start_was_cut_off_is_installed(tmp_path: Path) -> None:
    written = keys.new_secret()
    (tmp_path / "aka.db.key.new").write_text(written + "\n")
    assert first_key(tmp_path) == written


def test_a_key_that_was_half_written_when_a_start_was_cut_off_is_not_used(tmp_path: Path) -> None:
    written = keys.new_secret()
    (tmp_path / "aka.db.key.new").write_text(written[:20])
    assert not first_key(tmp_path).startswith(written[:20])


def test_a_key_that_was_written_down_for_another_database_is_thrown_away(tmp_path: Path) -> None:
    key = first_key(tmp_path)
    (tmp_path / "aka.db.key.new").write_text(keys.new_secret() + "\n")
    assert first_key(tmp_path) == key


def test_on_a_terminal_a_made_up_key_is_shown_in_lines_that_work_as_pasted(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path) as shown:
        assert linked(pasted(shown, Path("/")))
        assert MADE_UP.search(shown)
        assert not list(tmp_path.glob("*.key*"))


def test_on_a_terminal_a_given_key_is_not_shown(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path, bootstrap_api_key=KEY) as shown:
        assert "as pasted" in shown
        assert KEY not in shown


def test_the_lines_that_read_the_key_from_its_file_work_as_pasted_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    with serving("--log-format", "text", cwd=folder, key=None) as server:
        assert linked(pasted(server.stderr, Path("/")))


def test_beside_the_lines_is_the_address_of_the_page_that_describes_rest(tmp_path: Path) -> None:
    with serving("--log-format", "text", cwd=tmp_path, settings={"rest_address": "127.0.0.1:0"}) as server:
        (page,) = re.findall(r"^Over REST, with curl: (.*)$", server.stderr, re.MULTILINE)
        assert httpx.get(page, trust_env=False).headers["content-type"].startswith("text/html")


def test_the_lines_for_a_unix_socket_and_a_given_key_work_as_pasted(tmp_path: Path) -> None:
    with (
        TemporaryDirectory(prefix="aka ") as short,  # a socket's path has room for some 100 characters
        serving("--log-format", "text", cwd=tmp_path, settings={"grpc_address": f"unix:{short}/socket"}) as server,
    ):
        assert linked(pasted(server.stderr, Path("/"), AKA_BOOTSTRAP_API_KEY=KEY))


def test_in_json_no_lines_are_shown_among_the_log(served: Run) -> None:
    assert "as pasted" not in served.ended.err
