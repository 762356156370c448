"""What workers meet that takes a while: a database that is away, a new certificate, a process that stands still."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import identify
from tests.postgres.cluster import Cluster
from tests.tls.authority import Authority
from tests.tls.test_tls_ports import caller, connected
from tests.workers.supervised import Supervised, is_alive, supervised, until

pytestmark = pytest.mark.skipif(
    os.environ.get("AKA_TEST_LONG") != "1", reason="it takes some time: make test-deploy runs it"
)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster.create()
    cluster.start()
    yield cluster
    cluster.remove()


def shown(workers: Supervised, authority: Authority) -> set[bytes | None]:
    """Return the certificates that are shown on a dozen connections."""
    found = set()
    for _ in range(12):
        with connected(workers.server.address, caller(authority)) as connection:
            found.add(connection.getpeercert(binary_form=True))
    return found


def test_a_worker_that_ends_while_the_database_is_away_is_started_again_until_it_serves(
    cluster: Cluster, tmp_path: Path
) -> None:
    with supervised(tmp_path, settings={"database_url": cluster.url()}) as workers:
        cluster.kill()
        os.kill(min(workers.pids), signal.SIGKILL)
        until(lambda: workers.server.stderr.count('"worker ended"') > 2)
        assert workers.get("/healthz") == 200
        cluster.start()
        until(lambda: workers.serving() == {"1", "2"})
        until(lambda: {workers.get("/readyz") for _ in range(8)} == {200})
        workers.server.call("Identify", identify("u"))
        assert workers.server.stop().code == 0


def test_a_new_certificate_is_shown_by_all_workers(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    files = authority.issue()
    with supervised(tmp_path, settings={"tls_cert": files.cert, "tls_key": files.key}) as workers:
        before = shown(workers, authority)
        authority.issue()  # over the files that were
        until(lambda: shown(workers, authority).isdisjoint(before))
        assert len(before) == len(shown(workers, authority)) == 1


def test_a_worker_that_stands_still_does_not_hold_up_the_stop_for_ever(tmp_path: Path) -> None:
    with supervised(tmp_path, "--grace", "0") as workers:
        pids = workers.pids
        os.kill(min(pids), signal.SIGSTOP)
        ended = workers.server.stop()
    assert (ended.code, ended.err.count('"worker killed: it did not end"')) == (0, 1)
    assert not any(map(is_alive, pids))
