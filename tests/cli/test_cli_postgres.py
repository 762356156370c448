"""The `aka` command over PostgreSQL: several servers of one database, its tools, and a database that goes away."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.server.methods import SERVICE
from tests.cli.command import KEY, PATIENCE, aka, environment, serving
from tests.postgres.cluster import Cluster
from tests.postgres.databases import drop_database, execute, fresh_database


@pytest.fixture
def url() -> Iterator[str]:
    url = fresh_database()
    yield url
    drop_database(url)


def without_password(url: str) -> str:
    """Return a URL as aka shows it."""
    return f"postgresql://{url.partition('@')[2]}"


# Servers.


def test_what_one_server_did_another_knows(url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        folders = [tmp_path / name for name in "ab"]
        for folder in folders:
            folder.mkdir()
        one, other = (stack.enter_context(serving(cwd=folder, settings={"database_url": url})) for folder in folders)
        linked = one.call("Alias", {"user_id": "ann", "alias_id": "card", "create_missing": True})
        assert other.call("Resolve", {"identifiers": [{"id": "card"}]})["resolutions"][0]["user_id"] == "ann"
        again = other.call("Alias", {"user_id": "ann", "alias_id": "card"})
        assert (again["outcome"], again["profile_id"]) == ("OUTCOME_ALREADY_LINKED", linked["profile_id"])
        assert one.stop().code == other.stop().code == 0


def test_servers_that_start_at_once_on_an_empty_database_all_serve_with_one_first_key(url: str, tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "aka.server", "serve"],
            cwd=tmp_path,
            env=environment(database_url=url),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        ready = [process.stdout.readline() for process in started if process.stdout is not None]
        assert [line[:10] for line in ready] == ["aka ready "] * 4
        key = (tmp_path / "aka-postgres.key").read_text().strip()
        listed = aka("keys", "list", "--json", "--database", url, cwd=tmp_path)
        assert [each["name"] for each in json.loads(listed.out)] == ["bootstrap"]
        address = ready[0].split("grpc=")[1].split()[0]
        asked = aka("keys", "list", "--server", address, cwd=tmp_path, env=environment(api_key=key))
        assert asked.code == 0, asked.err
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_a_request_id_is_answered_again_by_another_server(url: str, tmp_path: Path) -> None:
    body = {
        "user_id": "ann",
        "alias_id": "card",
        "create_missing": True,
        "request_id": "0" * 8 + "-0000" * 3 + "-" + "1" * 12,
    }
    with serving(cwd=tmp_path, settings={"database_url": url}) as one:
        first = one.call("Alias", body)
    with serving(cwd=tmp_path, settings={"database_url": url}) as other:
        assert other.call("Alias", body) == first
        assert first["outcome"] == "OUTCOME_CREATED"


# Tools.


def test_a_database_is_migrated_and_checked(url: str, tmp_path: Path) -> None:
    env = environment(database_url=url)
    pending = aka("migrate", "--dry-run", cwd=tmp_path, env=env)
    assert pending.out.startswith("pending 0001 ")
    assert aka("migrate", cwd=tmp_path, env=env).out == pending.out.replace("pending", "applied")
    assert aka("migrate", cwd=tmp_path, env=env).out == "up to date\n"
    assert aka("check", cwd=tmp_path, env=env).out == "0 profiles, 0 identifiers: no faults\n"


def test_a_database_without_tables_is_not_checked(url: str, tmp_path: Path) -> None:
    ended = aka("check", cwd=tmp_path, env=environment(database_url=url))
    assert ended.code == 1
    why = "it lacks migrations; run `aka migrate` first"
    assert ended.errors == [f"aka: {without_password(url)} cannot be used: {why}"]


def test_damage_is_found(url: str, tmp_path: Path) -> None:
    env = environment(database_url=url)
    with serving(cwd=tmp_path, settings={"database_url": url}) as server:
        server.call("Alias", {"user_id": "ann", "alias_id": "card", "create_missing": True})
    execute(url, "UPDATE profiles SET identifiers = 3")
    ended = aka("check", cwd=tmp_path, env=env)
    assert ended.code == 1
    assert "stored is Counts(identifiers=3" in ended.out


@pytest.mark.parametrize("command", [["backup", "copy.db"], ["restore", "copy.db"]])
def test_postgresqls_own_tools_are_named_for_backups(command: list[str], url: str, tmp_path: Path) -> None:
    ended = aka(*command, cwd=tmp_path, env=environment(database_url=url))
    assert ended.code == 2
    assert "use PostgreSQL's own tools, such as pg_dump and pg_restore" in ended.err


def test_somebody_elses_tables_are_left_alone(url: str, tmp_path: Path) -> None:
    execute(url, "CREATE TABLE orders (id int)")
    ended = aka("migrate", cwd=tmp_path, env=environment(database_url=url))
    assert ended.code == 1
    assert "the schema holds tables that are not aka's" in ended.err


def test_a_schema_of_its_own_is_used_where_the_url_names_it(url: str, tmp_path: Path) -> None:
    execute(url, "CREATE TABLE orders (id int)", "CREATE SCHEMA aka")
    env = environment(database_url=f"{url}?search_path=aka")
    assert aka("migrate", cwd=tmp_path, env=env).out.startswith("applied 0001 ")
    assert execute(url, "SELECT 1 FROM pg_tables WHERE schemaname = 'aka' AND tablename = 'identifiers'")


# What goes wrong.


def test_a_database_that_cannot_be_reached_ends_a_server_with_one_line_without_the_password(tmp_path: Path) -> None:
    url = "postgresql://aka:hunter2@127.0.0.1:1/aka"
    for command in (["serve"], ["check"]):
        ended = aka(*command, cwd=tmp_path, env=environment(database_url=url))
        assert ended.code == 1
        [line] = [line for line in ended.errors if line.startswith("aka: ")]
        assert line.startswith("aka: postgresql://127.0.0.1:1/aka cannot be used: ")
        assert "hunter2" not in ended.err + ended.out


def test_a_password_in_a_url_that_cannot_be_is_not_shown(tmp_path: Path) -> None:
    ended = aka("serve", cwd=tmp_path, env=environment(database_url="postgres:/aka:hunter2@/?x"))
    assert ended.code == 2
    assert ended.err.startswith("aka: AKA_DATABASE_URL: is not ")
    assert "hunter2" not in ended.err


def test_without_the_driver_a_server_says_what_to_install(tmp_path: Path) -> None:
    without = "import sys; sys.modules['asyncpg'] = None; from aka.server.__main__ import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", without, "serve"],
        cwd=tmp_path,
        env=environment(database_url="postgresql://127.0.0.1/aka"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == "aka: PostgreSQL needs the driver asyncpg: pip install 'aka[server,postgres]'\n"


def test_a_server_whose_database_goes_away_says_so_and_serves_again_when_it_is_back(tmp_path: Path) -> None:
    cluster = Cluster.create(durable=True)
    cluster.start()
    try:
        settings = {"database_url": cluster.url(), "rest_address": "127.0.0.1:0"}
        with (
            serving(cwd=tmp_path, settings=settings) as server,
            grpc.insecure_channel(server.address) as channel,
            httpx.Client(base_url=f"http://{server.rest}") as rest,
        ):
            server.call("Identify", {"aliases_to_identify": [{"external_id": "ann"}]})
            watch = health_pb2_grpc.HealthStub(channel).Watch(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=PATIENCE
            )
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            cluster.kill()
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert rest.get("/readyz").status_code == 503
            with pytest.raises(grpc.RpcError) as refused:
                server.call("Resolve", {"identifiers": [{"id": "ann"}]})
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "nothing was changed" in str(refused.value.details())
            cluster.start()
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            assert rest.get("/readyz").status_code == 200
            assert server.call("Resolve", {"identifiers": [{"id": "ann"}]})["resolutions"][0]["found"]
    finally:
        cluster.remove()


def test_a_key_that_was_revoked_through_one_server_is_refused_by_another(url: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(cwd=folder, settings={"database_url": url})) for folder in folders)
        made = aka("keys", "create", "--json", "--server", one.address, cwd=tmp_path, env=environment(api_key=KEY))
        created = json.loads(made.out)
        asked = {"identifiers": [{"id": "ann"}]}
        other.call("Resolve", asked, created["secret"])
        aka("keys", "revoke", created["id"], "--server", one.address, cwd=tmp_path, env=environment(api_key=KEY))
        until = time.monotonic() + PATIENCE
        with pytest.raises(grpc.RpcError) as refused:
            while time.monotonic() < until:
                other.call("Resolve", asked, created["secret"])
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
