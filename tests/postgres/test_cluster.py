"""The PostgreSQL that tests start: it serves, is killed, frozen and copied."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.postgres.cluster import Cluster
from tests.postgres.databases import drop_database, execute, fresh_database


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster.create()
    cluster.start()
    yield cluster
    cluster.remove()


def test_fresh_databases_are_empty_and_apart() -> None:
    first, second = fresh_database(), fresh_database()
    execute(first, "CREATE TABLE things (id int)")
    with pytest.raises(asyncpg.UndefinedTableError):
        execute(second, "SELECT * FROM things")
    drop_database(first)
    drop_database(second)


def test_a_killed_cluster_starts_again_with_what_was_committed(cluster: Cluster) -> None:
    execute(cluster.url(), "CREATE TABLE things (id int)", "INSERT INTO things VALUES (1)", "CHECKPOINT")
    cluster.kill()
    with pytest.raises(ConnectionError):
        execute(cluster.url(), "SELECT 1")
    cluster.start()
    assert [tuple(row) for row in execute(cluster.url(), "SELECT id FROM things")] == [(1,)]


def test_a_standby_has_what_its_primary_has(cluster: Cluster) -> None:
    execute(cluster.url(), "CREATE TABLE things (id int)", "INSERT INTO things VALUES (1)")
    standby = Cluster.copy_of(cluster)
    standby.start()
    assert [tuple(row) for row in execute(standby.url(), "SELECT id, pg_is_in_recovery() FROM things")] == [(1, True)]
    standby.remove()


def test_a_frozen_cluster_goes_on_when_it_is_thawed(cluster: Cluster) -> None:
    cluster.freeze()
    with pytest.raises(TimeoutError):
        execute(cluster.url(), "SELECT 1", timeout=0.3)
    cluster.thaw()
    assert execute(cluster.url(), "SELECT 1")
