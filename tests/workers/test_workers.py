"""`aka serve --workers`: several processes serve one port, whatever becomes of one of them."""

import itertools
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import grpc
import httpx
import pytest

from tests.cli.command import KEY, aka, call, environment, identify
from tests.docs.pages import code, table
from tests.postgres.databases import drop_database, fresh_database
from tests.workers.supervised import MANY, Supervised, is_alive, supervised, until


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """Two workers that many tests use and none ends."""
    with supervised(tmp_path_factory.mktemp("workers")) as two:
        yield two


def test_it_is_ready_when_all_workers_serve(workers: Supervised) -> None:
    assert (len(workers.pids), workers.serving()) == (2, {"1", "2"})


def test_connections_are_spread_and_each_worker_knows_what_another_was_told(workers: Supervised) -> None:
    workers.server.call("Identify", identify("u"))
    for _ in range(MANY):
        with workers.channel() as channel:
            answer = call(channel, "Resolve", {"identifiers": [{"id": "u"}]})
        assert answer["resolutions"][0]["user_id"] == "u"
    counted = workers.scrape()
    answered = [
        value for (name, labels), value in counted.samples.items()
        if name == "aka_calls_total" and {("method", "Resolve"), ("code", "OK")} <= labels
    ]  # fmt: skip
    assert (len(answered), sum(answered)) == (2, MANY)


def test_rest_requests_are_spread_too(workers: Supervised) -> None:
    assert {workers.get("/healthz") for _ in range(MANY)} == {200}
    name, labels = "aka_http_requests_total", {"endpoint": "/healthz", "status": "200"}
    answered = [workers.scrape()(name, worker=worker, **labels) for worker in ("1", "2")]
    assert (sum(answered), all(answered)) == (MANY, True)


def test_each_process_shows_its_own_metrics(workers: Supervised) -> None:
    memory = workers.scrape().labelled("process_resident_memory_bytes", "worker")
    assert ({*memory}, all(memory.values())) == ({"1", "2"}, True)


def test_the_pages_table_is_what_is_shown_besides(workers: Supervised) -> None:
    told = {code(name)[0]: kind for name, kind, *_ in table("docs/observability.md", "### Workers")}
    assert told == {name: kind for name, kind in workers.scrape().families.items() if name.startswith("aka_worker_")}


def test_another_server_cannot_have_the_port(workers: Supervised, tmp_path: Path) -> None:
    database = fresh_database()
    for arguments, url in ((("--workers", "2"), database), ((), "sqlite:///other.db")):
        env = environment(database_url=url, grpc_address=workers.server.address, bootstrap_api_key=KEY)
        ended = aka("serve", *arguments, cwd=tmp_path, env=env)
        assert (ended.code, ended.out, workers.server.address in ended.errors[-1]) == (1, "", True)
    drop_database(database)


def test_a_killed_worker_is_replaced_and_nothing_that_was_acknowledged_is_lost(workers: Supervised) -> None:
    before, stop, acknowledged = workers.pids, Event(), list[str]()

    def write(number: int) -> None:
        with workers.channel() as channel:
            for count in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                id_ = f"writer-{number}-{count}"
                try:
                    call(channel, "Identify", identify(id_))
                    acknowledged.append(id_)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.UNAVAILABLE

    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write, number) for number in range(8)]
        until(lambda: len(acknowledged) > 50)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(workers.serving()) == 2 and workers.pids - before != set())
        reached = len(acknowledged)
        until(lambda: len(acknowledged) > reached + 50)
        stop.set()
        for each in writing:
            each.result()
    assert before - workers.pids == {killed}
    assert sum(workers.scrape().labelled("aka_worker_ends_total", "worker").values()) == 1
    for some in range(0, len(acknowledged), 1000):
        assert all(workers.resolve(*acknowledged[some : some + 1000]))


def test_sighup_renews_the_workers_one_after_another_and_sigterm_ends_them_all_with_0(tmp_path: Path) -> None:
    with supervised(tmp_path) as workers:
        before = workers.pids
        workers.server.process.send_signal(signal.SIGHUP)
        served = 0
        while before & workers.pids:
            with suppress(httpx.TransportError):  # it may meet a port that is just being closed
                served += workers.get("/healthz") == 200
        until(lambda: len(workers.serving()) == 2)
        pids = workers.pids
        ended = workers.server.stop()
        assert (ended.code, ended.out, served > 0) == (0, "", True)
        assert not any(map(is_alive, pids))


def test_sigint_drains_all_workers_and_a_second_signal_ends_that(tmp_path: Path) -> None:
    with supervised(tmp_path, "--drain", "3600") as workers:
        workers.server.process.send_signal(signal.SIGINT)
        until(lambda: {workers.health() for _ in range(8)} == {"NOT_SERVING"})
        assert {workers.get("/readyz") for _ in range(8)} == {503}
        workers.server.call("Identify", identify("u"))
        assert workers.server.stop().code == 0


def test_a_supervisor_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    with supervised(tmp_path) as workers:
        pids = workers.pids
        workers.server.stop(signal.SIGKILL)
        until(lambda: not any(map(is_alive, pids)))


def test_a_database_that_is_not_there_ends_it_as_it_does_one_server(tmp_path: Path) -> None:
    url = "postgresql://aka@127.0.0.1:1/aka"
    ended = aka("serve", "--workers", "2", cwd=tmp_path, env=environment(database_url=url, bootstrap_api_key=KEY))
    alone = aka("serve", cwd=tmp_path, env=environment(database_url=url, bootstrap_api_key=KEY))
    assert (ended.code, ended.out, ended.errors[-1:]) == (1, "", alone.errors[-1:])
