"""`aka serve`: what it prints, where it listens, how it stops, and why it cannot serve."""

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.server.store.sqlite_check import check_file
from tests.cli.command import KEY, aka, environment, identify, serving, shown, start
from tests.cli.command import call as call_on


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="aka", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_the_ready_line_is_all_that_is_on_stdout(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        ended = server.stop()
    host, _, port = server.address.rpartition(":")
    assert (host, int(port) > 0, ended.out) == ("127.0.0.1", True, "")


def test_a_server_serves_when_it_says_so(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        assert server.call("Identify", identify("u"))["aliases_processed"] == 1


def test_the_database_is_made_beside_the_caller(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        server.stop()
    assert check_file(str(tmp_path / "aka.db")).faults == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_0(tmp_path: Path, number: int) -> None:
    with serving(cwd=tmp_path) as server:
        assert server.stop(number).code == 0


def test_a_call_under_way_is_finished_before_it_stops(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with closing(sqlite3.connect(tmp_path / "aka.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            under_way = start(channel, "Identify", identify("u"))
            call_on(channel, "Resolve", {"identifiers": [{"id": "u"}]})  # comes after it on the same connection
            server.process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        answer = shown("Identify", under_way.result())
        assert (answer["aliases_processed"], server.process.wait(60)) == (1, 0)


def test_watchers_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    with serving("--grace", "3600", cwd=tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(5)]
        for watch in watches:
            next(watch)
        assert server.stop().code == 0


def test_what_was_linked_is_there_after_a_restart(tmp_path: Path) -> None:
    body = {"user_id": "user_123", "alias_id": "legacy_999", "create_missing": True}
    with serving(cwd=tmp_path) as server:
        profile_id = server.call("Alias", body)["profile_id"]
        server.stop()
    with serving(cwd=tmp_path) as server:
        answer = server.call("Resolve", {"identifiers": [{"id": "legacy_999"}]})
    assert answer["resolutions"][0]["profile_id"] == profile_id


def test_a_killed_server_leaves_its_file_to_the_next(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        server.call("Identify", identify("u"))
        server.stop(signal.SIGKILL)
    with serving(cwd=tmp_path) as server:
        assert server.call("Resolve", {"identifiers": [{"id": "u"}]})["resolutions"][0]["found"]


def test_it_serves_on_a_unix_socket(tmp_path: Path, short_path: Path) -> None:
    address = f"unix:{short_path / 'socket'}"
    with serving(cwd=tmp_path, settings={"grpc_address": address}) as server:
        assert server.address == address
        assert server.call("Identify", identify("u"))["aliases_processed"] == 1


def test_it_serves_a_database_in_memory_and_leaves_no_file(tmp_path: Path) -> None:
    with serving(cwd=tmp_path, settings={"database_url": "sqlite:///:memory:"}) as server:
        server.call("Identify", identify("u"))
        assert server.stop().code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["stderr.txt"]


def test_four_slashes_name_an_absolute_path(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with serving(cwd=tmp_path, settings={"database_url": f"sqlite:///{folder}/mine.db"}) as server:
        server.stop()
    assert (folder / "mine.db").exists()


def test_a_second_server_on_one_file_ends_with_1_and_one_line(tmp_path: Path) -> None:
    with serving(cwd=tmp_path):
        ended = aka("serve", cwd=tmp_path)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert "aka.db is served by another aka process" in ended.err


def test_a_second_server_leaves_the_first_one_serving(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        aka("serve", cwd=tmp_path)
        assert server.call("Identify", identify("u"))


def test_an_address_in_use_ends_with_1_and_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        env = environment(grpc_address=address, bootstrap_api_key=KEY)
        ended = aka("serve", cwd=tmp_path, env=env)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert address in ended.err


def test_an_address_of_another_machine_ends_with_1_and_one_line(tmp_path: Path) -> None:
    env = environment(grpc_address="192.0.2.1:0", bootstrap_api_key=KEY)
    ended = aka("serve", cwd=tmp_path, env=env)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)


def test_a_unix_socket_in_use_is_left_to_its_server(tmp_path: Path, short_path: Path) -> None:
    address = f"unix:{short_path / 'socket'}"
    with serving(cwd=tmp_path, settings={"grpc_address": address}) as server:
        env = environment(grpc_address=address, bootstrap_api_key=KEY, database_url="sqlite:///other.db")
        ended = aka("serve", cwd=tmp_path, env=env)
        assert (ended.code, len(ended.errors)) == (1, 1)
        assert server.call("Identify", identify("u"))


def unreachable(folder: Path, what: str) -> str:
    """Return the URL of a database that cannot be opened."""
    match what:
        case "a missing folder":
            return "sqlite:///missing/aka.db"
        case "a folder":
            (folder / "folder").mkdir()
            return "sqlite:///folder"
        case "no database":
            (folder / "text.db").write_text("this is no database, and longer than a header of SQLite's is\n" * 50)
            return "sqlite:///text.db"
        case "another program's":
            with closing(sqlite3.connect(folder / "other.db")) as connection:
                connection.execute("CREATE TABLE other (id)")
            return "sqlite:///other.db"
        case _:
            aka("migrate", "--database", "sqlite:///future.db", cwd=folder)
            with closing(sqlite3.connect(folder / "future.db", isolation_level=None)) as connection:
                connection.execute("INSERT INTO migrations VALUES (9999, 'future', 0)")
            return "sqlite:///future.db"


@pytest.mark.parametrize("what", ["a missing folder", "a folder", "no database", "another program's", "the future's"])
def test_a_database_that_cannot_be_opened_ends_with_1_and_one_line(tmp_path: Path, what: str) -> None:
    ended = aka("serve", "--database", unreachable(tmp_path, what), cwd=tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.errors) == 1, ended.err


def test_the_command_can_be_run_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aka.server", "version"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, aka("version", cwd=tmp_path).out)
