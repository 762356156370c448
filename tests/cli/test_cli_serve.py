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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.server.store.sqlite_check import check_file
from tests.cli.command import KEY, aka, call, environment, identify, serving, shown, start
from tests.cli.conftest import Meanwhile, Run


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="aka", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_the_ready_line_is_all_that_is_on_stdout(served: Run) -> None:
    assert (served.ready.startswith(f"aka ready grpc={served.address} rest="), served.ended.out) == (True, "")


def test_port_0_picks_a_free_one(served: Run) -> None:
    host, _, port = served.address.rpartition(":")
    assert (host, int(port) > 0) == ("127.0.0.1", True)


def test_sigterm_stops_it_with_0(served: Run) -> None:
    assert served.ended.code == 0


def test_the_database_is_made_where_it_was_started(served: Run) -> None:
    assert check_file(str(served.folder / "aka.db")).faults == []


def test_sigint_stops_it_with_0_and_what_was_linked_is_there_after_a_restart(used: Path) -> None:
    with serving(cwd=used) as server:
        assert server.call("Resolve", {"identifiers": [{"id": "a"}]})["resolutions"][0]["user_id"] == "u"
        assert server.stop(signal.SIGINT).code == 0


def test_a_call_under_way_is_finished_before_it_stops(used: Path) -> None:
    with serving(cwd=used) as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with closing(sqlite3.connect(used / "aka.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            under_way = start(channel, "Identify", identify("new"))
            call(channel, "Resolve", {"identifiers": [{"id": "u"}]})  # comes after it on the same connection
            server.process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        answer = shown("Identify", under_way.result())
        assert (answer["aliases_processed"], server.process.wait(60)) == (1, 0)


def test_watchers_do_not_hold_up_the_stop(used: Path) -> None:
    with serving("--grace", "3600", cwd=used) as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(5)]
        for watch in watches:
            next(watch)
        assert server.stop().code == 0


def test_a_killed_server_leaves_its_file_and_all_that_it_acknowledged_to_the_next(used: Path) -> None:
    with serving(cwd=used) as server:
        server.call("Identify", identify("new"))
        server.stop(signal.SIGKILL)
    with serving(cwd=used) as server:
        assert server.call("Resolve", {"identifiers": [{"id": "new"}]})["resolutions"][0]["found"]


def test_a_unix_socket_is_served_and_is_not_taken_over_by_a_second_server(used: Path, short_path: Path) -> None:
    address = f"unix:{short_path / 'socket'}"
    with serving(cwd=used, settings={"grpc_address": address}) as server:
        env = environment(grpc_address=address, bootstrap_api_key=KEY, database_url="sqlite:///other.db")
        ended = aka("serve", cwd=used, env=env)
        assert (server.address, ended.code, len(ended.errors)) == (address, 1, 1)
        assert server.call("Identify", identify("new"))


def test_it_serves_a_database_in_memory_and_leaves_no_file(tmp_path: Path) -> None:
    with serving(cwd=tmp_path, settings={"database_url": "sqlite:///:memory:"}) as server:
        server.call("Identify", identify("u"))
        assert server.stop().code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["stderr.txt"]


def test_a_second_server_on_one_file_ends_with_1_and_one_line(meanwhile: Meanwhile) -> None:
    ended = meanwhile.serve
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert "aka.db is served by another aka process" in ended.err


def test_a_second_server_leaves_the_first_one_serving(meanwhile: Meanwhile) -> None:
    assert meanwhile.still_serves


def test_an_address_in_use_ends_with_1_and_one_line(used: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = aka("serve", "--grpc-address", address, cwd=used, env=environment(bootstrap_api_key=KEY))
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert address in ended.err


def test_an_address_of_another_machine_ends_with_1_and_one_line(used: Path) -> None:
    ended = aka("serve", "--grpc-address", "192.0.2.1:0", cwd=used, env=environment(bootstrap_api_key=KEY))
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)


def unreachable(folder: Path, what: str) -> Path:
    """Return the path of a database that cannot be opened."""
    match what:
        case "a missing folder":
            return folder / "missing" / "aka.db"
        case "a folder":
            return folder
        case "no database":
            (folder / "aka.db").write_text("this is no database, and longer than a header of SQLite's is\n" * 50)
        case "another program's":
            with closing(sqlite3.connect(folder / "another.db")) as connection:
                connection.execute("CREATE TABLE other (id)")
            return folder / "another.db"
        case _:
            with closing(sqlite3.connect(folder / "aka.db", isolation_level=None)) as connection:
                connection.execute("INSERT INTO migrations (number, name, applied_at) VALUES (9999, 'future', 0)")
    return folder / "aka.db"


@pytest.mark.parametrize("what", ["a missing folder", "a folder", "no database", "another program's", "the future's"])
def test_a_database_that_cannot_be_opened_ends_with_1_and_one_line(used: Path, what: str) -> None:
    ended = aka("serve", "--database", f"sqlite:///{unreachable(used, what)}", cwd=used)
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.errors) == 1, ended.err


def test_the_command_can_be_run_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aka.server", "version"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, f"aka {version('aka')}\n")
