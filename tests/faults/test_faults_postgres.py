"""Servers over one PostgreSQL that is killed, frozen, cut off or filled under load: nothing is lost, all comes back."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.faults import postgres_faults as faults
from tests.faults.conftest import LONG, Report
from tests.faults.disk import Disk, small_disk
from tests.faults.fleet import fleet
from tests.faults.high_availability import INSTALL, high_availability
from tests.faults.history import End, History
from tests.faults.namespace import Namespace, namespace
from tests.faults.postgres_faults import Inject, Place
from tests.faults.relay import Relay
from tests.postgres.cluster import Cluster

STORE: Final = "PostgreSQL"

only_long: Final = pytest.mark.skipif(not LONG, reason="takes half a minute or more; by make test-faults")

_FAKETIME: Final = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL that syncs what it commits."""
    cluster = Cluster.create(durable=True)
    cluster.start()
    yield cluster
    cluster.thaw()
    cluster.remove()


@asynccontextmanager
async def _place(
    folder: Path, cluster: Cluster, history: History, random: Random, servers: int = 3, callers: int = 48
) -> AsyncIterator[Place]:
    """Servers under load that reach the cluster through a relay."""
    relay = Relay(f"127.0.0.1:{cluster.port}")
    async with relay.listening() as through:
        url = cluster.url().replace(f"127.0.0.1:{cluster.port}", through)
        running = fleet(folder, url, history, random, directly=cluster.url(), servers=servers, callers=callers)
        async with running as own:
            yield Place(own, cluster, relay)


async def test_two_servers_come_through_what_is_done_to_their_database(
    tmp_path: Path, cluster: Cluster, history: History, random: Random
) -> None:
    async with _place(tmp_path, cluster, history, random, servers=2, callers=16) as place:
        for inject in (
            faults.kill_a_server,
            faults.terminate_the_connections,
            faults.cut_before_commit,
            faults.cut_after_commit,
            faults.kill_the_database,
        ):
            await inject(place)
            await place.fleet.serves(50)
    assert all(watch.said_so for watch in place.fleet.watches), "no server said that its database was away"
    assert history.reasons()["OUTCOME_UNKNOWN"] > 0


@only_long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "inject", "times", "away"),
    [
        ("kill -9 of a server of three", faults.kill_a_server, 8, False),
        ("kill -9 of PostgreSQL", faults.kill_the_database, 6, True),
        ("connections terminated", faults.terminate_the_connections, 20, False),
        ("connection cut before COMMIT arrives", faults.cut_before_commit, 10, False),
        ("connection cut after COMMIT, unanswered", faults.cut_after_commit, 10, False),
        ("COMMIT waits for a standby, then terminated", faults.terminate_in_commit, 4, False),
        ("PostgreSQL frozen (SIGSTOP)", faults.freeze_the_database, 4, True),
        ("network drops without a word", faults.lose_what_is_sent, 4, True),
        ("connections cut at any byte", faults.cut_at_any_byte, 4, False),
    ],
)
async def test_three_servers_lose_and_double_nothing_and_come_back_by_themselves(
    tmp_path: Path,
    cluster: Cluster,
    history: History,
    random: Random,
    report: Report,
    fault: str,
    inject: Inject,
    times: int,
    away: bool,
) -> None:
    try:
        async with _place(tmp_path, cluster, history, random) as place:
            for _ in range(times):
                await asyncio.sleep(random.uniform(0.2, 1.0))
                history.injected += 1
                await inject(place)
                await place.fleet.recovers()
    finally:
        report(fault, history, STORE)
    place.fleet.assert_deadlines_were_kept()
    assert not away or all(watch.said_so for watch in place.fleet.watches)
    assert history.ended(End.UNKNOWN) > 0


@only_long
@pytest.mark.timeout(300)
async def test_a_network_that_is_cut_and_comes_back_loses_nothing(
    tmp_path: Path, history: History, random: Random, report: Report
) -> None:
    with namespace("n", "") as own:
        _set_link(own, "up")
        cluster = Cluster.create(durable=True, inside=own.inside)
        cluster.start()
        try:
            sockets = {
                "AKA_GRPC_ADDRESS": f"unix:{cluster.folder}/grpc-{{number}}",
                "AKA_REST_ADDRESS": f"unix:{cluster.folder}/rest-{{number}}",
            }
            directly = cluster.url_of_its_socket()
            async with fleet(
                tmp_path, cluster.url(), history, random, directly=directly, settings=sockets, inside=own.inside
            ) as running:
                for _ in range(4):
                    history.injected += 1
                    _set_link(own, "down")
                    await asyncio.sleep(faults.AWAY)
                    _set_link(own, "up")
                    await running.recovers()
        finally:
            cluster.remove()
            report("network cut (ip link set down)", history, STORE)
    running.assert_deadlines_were_kept()
    assert all(watch.said_so for watch in running.watches)


@only_long
@pytest.mark.timeout(300)
async def test_a_full_disk_of_the_database_loses_nothing(
    tmp_path: Path, history: History, random: Random, report: Report
) -> None:
    outside = Cluster.create(durable=True, max_wal_size="32MB", min_wal_size="32MB")
    try:
        with small_disk(outside.folder / "disk", 192 << 20) as disk:
            cluster = _moved(outside, disk)
            cluster.start()
            try:
                async with fleet(tmp_path, cluster.url(), history, random) as running:
                    for _ in range(4):
                        disk.fill(leave=random.randrange(0, 1 << 20))
                        history.injected += 1
                        await running.fails(100)
                        disk.empty()
                        if not cluster.runs:  # it gives up where it has no room for its log
                            await asyncio.to_thread(cluster.start)
                        await running.recovers()
            finally:
                if cluster.runs:
                    cluster.stop("immediate")
    finally:
        shutil.rmtree(outside.folder)
        report("disk of PostgreSQL full", history, STORE)
    running.assert_deadlines_were_kept()


@only_long
@pytest.mark.timeout(300)
async def test_a_server_whose_clock_jumps_loses_and_doubles_nothing(
    tmp_path: Path, cluster: Cluster, history: History, random: Random, report: Report
) -> None:
    assert _FAKETIME is not None, f"libfaketime not found: {INSTALL}"
    clocks = [tmp_path / f"clock-{number}" for number in range(3)]
    for clock in clocks:
        clock.write_text("+0\n")
    settings = {
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock-{number}"),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as it is where somebody sets a machine's clock
    }
    try:
        async with fleet(tmp_path, cluster.url(), history, random, settings=settings) as running:
            for seconds in (3600, -3600, 11 * 3600, -11 * 3600, 5, -5, 0):
                for clock in random.sample(clocks, 2):
                    clock.write_text(f"{seconds:+}\n")
                    history.injected += 1
                await asyncio.sleep(1.5)
                await running.recovers()
    finally:
        report("clock of a server jumps", history, STORE)
    running.assert_deadlines_were_kept()
    assert not history.reasons(), "a clock that jumps is no reason to fail"


@only_long
@pytest.mark.timeout(600)
async def test_nothing_is_lost_when_the_node_of_the_leader_dies(
    tmp_path: Path, history: History, random: Random, report: Report
) -> None:
    async with high_availability() as nodes:
        await nodes.leader()
        try:
            async with fleet(tmp_path, nodes.url, history, random, callers=32) as running:
                for _ in range(2):
                    leader = await nodes.leader()
                    leader.kill()
                    history.injected += 1
                    await nodes.leader(other_than=leader)
                    await running.recovers()
                    nodes.start(leader)
                    await nodes.standby(leader)
        finally:
            report("node of Patroni's leader killed, of three", history, STORE)
    running.assert_deadlines_were_kept()
    assert all(watch.said_so for watch in running.watches)


def _set_link(place: Namespace, state: str) -> None:
    """Cut or mend the network of a namespace."""
    subprocess.run([*place.inside, "ip", "link", "set", "lo", state], check=True)


def _moved(cluster: Cluster, disk: Disk) -> Cluster:
    """Return the cluster with its data on another disk."""
    data = cluster.folder / "data"
    subprocess.run([*disk.inside, "cp", "-a", data, disk.folder], check=True)
    shutil.rmtree(data)
    data.symlink_to(disk.folder / "data")
    return replace(cluster, inside=disk.inside)
