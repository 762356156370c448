"""PostgreSQL: several stores over one database, clashes, a database that fails, replicas, URLs and migrations."""

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import trustme
import uuid_utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aka.server.domain.identifiers import id_of
from aka.server.errors import AkaError
from aka.server.keys import PERMISSIONS
from aka.server.store import postgres_connection, postgres_data, postgres_migrations
from aka.server.store.postgres import PostgresStore
from aka.server.store.postgres_changes import _DELETE, _POINT
from aka.server.store.postgres_connection import Connection, connect
from aka.server.store.postgres_database import on_database
from aka.server.store.postgres_graph import _GRAPH, _KEPT, _LABELS, _LINKS, _LOCK, _PAGE, _SURVIVORS
from aka.server.store.postgres_resolve import _WHOSE
from aka.server.store.postgres_url import PostgresOptions, PostgresUrl
from aka.server.store.store import CannotOpen, NewApiKey, Once
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, delete_alias, identify, pair
from tests.postgres.cluster import Cluster
from tests.postgres.databases import drop_database, execute, fresh_database
from tests.store.backends import TABLES, Postgres
from tests.store.tenant import Tenant
from tests.store.test_store_groups import Twins, calls

ALWAYS = v1.MERGE_POLICY_ALWAYS


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Postgres]:
    """PostgreSQL alone, whose integrity is checked after the test."""
    backend = await Postgres.empty(tmp_path)
    yield backend
    assert await backend.close() == []


@pytest.fixture
async def tenants(backend: Postgres) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """One workspace, through two stores as two servers have them."""
    workspace = await backend.add_workspace("acme")
    other = await PostgresStore.open(backend.url, PostgresOptions())
    yield Tenant(backend.store, workspace), Tenant(other, workspace)
    await other.close()


async def refusal(asked: Awaitable[Any]) -> str:
    with pytest.raises(AkaError) as refused:
        await asked
    return refused.value.name


# Several servers.


@settings(
    max_examples=max(settings.default.max_examples // 10, 1) if settings.default else 15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(groups=st.lists(st.lists(calls, min_size=1, max_size=8), min_size=1, max_size=6))
async def test_servers_in_turn_come_to_what_one_would(
    backend: Postgres, tenants: tuple[Tenant, Tenant], groups: list[Any]
) -> None:
    workspace = await backend.add_workspace(f"w-{uuid_utils.uuid4()}")
    twins = Twins(Tenant(tenants[0].store, workspace))
    for number, group in enumerate(groups):
        twins.tenant = Tenant(tenants[number % 2].store, workspace)
        await twins.ask(group)
    await twins.compare()


async def test_links_that_race_with_a_merge_of_their_profile_through_other_servers_arrive(
    backend: Postgres, tenants: tuple[Tenant, Tenant]
) -> None:
    one, other = tenants
    third = Tenant(await PostgresStore.open(backend.url, PostgresOptions()), one.workspace)
    for turn in range(80):
        ann, bob = f"ann-{turn}", f"bob-{turn}"
        await one.batch(identify(ann), identify(bob))
        merged, *linked = await asyncio.gather(
            other.batch(alias(ann, bob, ALWAYS)),
            one.batch(alias(bob, f"{bob}-card")),
            third.batch(alias(ann, f"{ann}-card")),
        )
        assert merged[0].outcome == v1.OUTCOME_MERGED
        assert {result[0].outcome for result in linked} == {v1.OUTCOME_LINKED}
        assert len(set(await one.whose(ann, bob, f"{ann}-card", f"{bob}-card"))) == 1
        assert (await other.header(ann)).identifiers == 4
    await third.store.close()


async def test_merges_that_race_through_two_servers_end_in_one_profile(tenants: tuple[Tenant, Tenant]) -> None:
    for turn in range(20):
        users = [f"{letter}-{turn}" for letter in "abcdef"]
        await tenants[0].batch(*map(identify, users))
        merges = [(alias(users[number], users[number + 1], ALWAYS), tenants[number % 2]) for number in range(5)]
        results = await asyncio.gather(*(tenant.batch(merge) for merge, tenant in merges))
        assert {result[0].outcome for result in results} == {v1.OUTCOME_MERGED}
        assert len(set(await tenants[1].whose(*users))) == 1


async def test_of_servers_that_race_to_make_a_person_one_makes_it(tenants: tuple[Tenant, Tenant]) -> None:
    for turn in range(30):
        results = await asyncio.gather(
            *(each.batch(alias(f"ann-{turn}", f"card-{turn}", create_missing=True)) for each in tenants)
        )
        assert sorted(result[0].outcome for result in results) == [v1.OUTCOME_CREATED, v1.OUTCOME_ALREADY_LINKED]


async def test_batches_that_look_at_what_the_other_makes_come_one_after_the_other(
    tenants: tuple[Tenant, Tenant],
) -> None:
    one, other = tenants
    for turn in range(60):
        ann, bob = f"ann-{turn}", f"bob-{turn}"
        results = await asyncio.gather(
            one.batch(delete_alias(ann, allow_missing=True), identify(bob)),
            other.batch(delete_alias(bob, allow_missing=True), identify(ann)),
        )
        # Whoever comes second finds what the first has made, which is a primary id.
        assert sorted(isinstance(deleted, AkaError) for deleted, _ in results) == [False, True]
        assert {identified.outcome for _, identified in results} == {v1.OUTCOME_CREATED}


async def test_a_request_id_that_comes_to_two_servers_at_once_is_done_by_one(tenants: tuple[Tenant, Tenant]) -> None:
    for turn in range(20):
        once = Once(uuid_utils.uuid4().bytes, "Identify", hashlib.sha256(b"body").digest(), lambda _: b"answer")
        user = f"user-{turn}"
        results = await asyncio.gather(
            *(each.batch(identify(user), once=once) for each in tenants), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["AnsweredBefore", "list"]


def operator_key(number: int) -> NewApiKey:
    key_id = uuid_utils.uuid7().bytes
    return NewApiKey(key_id, hashlib.sha256(key_id).digest(), f"key-{number}", "aka_1234", ["operator"])


async def test_of_first_keys_through_two_servers_one_is_added(tenants: tuple[Tenant, Tenant]) -> None:
    added = await asyncio.gather(
        *(tenants[number % 2].store.add_first_api_key("default", operator_key(number)) for number in range(20))
    )
    assert sorted(added) == [False] * 19 + [True]


async def test_the_last_operator_key_stays_though_two_servers_revoke_at_once(tenants: tuple[Tenant, Tenant]) -> None:
    for _ in range(10):
        keys = [operator_key(number) for number in range(2)]
        for key in keys:
            await tenants[0].store.add_api_key(tenants[0].workspace, key)
        left = [
            key.id
            for key in await tenants[0].store.list_api_keys(tenants[0].workspace, b"", 1000)
            if not key.revoked_at
        ]
        results = await asyncio.gather(
            *(tenants[number % 2].store.revoke_api_key(key, None) for number, key in enumerate(left)),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, AkaError)]
        assert [each.name for each in refused] == ["LAST_OPERATOR_KEY"]


# Clashes.

FAILING: Final = """
    CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.name = 'hot' AND nextval('tries') <= {times} THEN
            RAISE EXCEPTION 'told to' USING ERRCODE = '{code}';
        END IF;
        RETURN NEW;
    END $$;
    CREATE SEQUENCE tries;
    CREATE TRIGGER failing BEFORE INSERT ON identifiers FOR EACH ROW EXECUTE FUNCTION fail();
"""


@asynccontextmanager
async def failing(backend: Postgres, code: str, times: int) -> AsyncIterator[None]:
    """Have PostgreSQL fail so many times where the id `hot` is written."""
    await backend.beside.execute(FAILING.format(code=code, times=times))
    try:
        yield
    finally:
        await backend.beside.execute("DROP FUNCTION fail CASCADE; DROP SEQUENCE tries")


@pytest.mark.parametrize("code", ["40001", "40P01"], ids=["serialization failure", "deadlock"])
async def test_a_clash_is_tried_again(backend: Postgres, tenants: tuple[Tenant, Tenant], code: str) -> None:
    async with failing(backend, code, times=3):
        assert (await tenants[0].do(identify("hot"))).outcome == v1.OUTCOME_CREATED


async def test_a_call_that_clashes_all_the_time_fails_alone(backend: Postgres, tenants: tuple[Tenant, Tenant]) -> None:
    names = [*(f"user-{number}" for number in range(20)), "hot", "last"]
    async with failing(backend, "40001", times=1_000_000):
        results = await asyncio.gather(*(tenants[0].batch(identify(name)) for name in names), return_exceptions=True)
    refused = dict(zip(names, results, strict=True)).pop("hot")
    assert isinstance(refused, AkaError)
    assert (refused.name, refused.retry_after) == ("CONFLICT", None)
    found = await tenants[1].whose(*names)
    assert [name for name, profile in zip(names, found, strict=True) if profile is None] == ["hot"]


async def test_an_error_that_is_no_clash_fails_its_call_alone(
    backend: Postgres, tenants: tuple[Tenant, Tenant]
) -> None:
    names = [*(f"user-{number}" for number in range(10)), "hot"]
    async with failing(backend, "22012", times=1_000_000):
        results = await asyncio.gather(*(tenants[0].batch(identify(name)) for name in names), return_exceptions=True)
    assert isinstance(results[-1], asyncpg.DivisionByZeroError)
    assert all(isinstance(result, list) for result in results[:-1])


# A database that fails.


async def cut_who_waits(url: PostgresUrl) -> None:
    """End the connections that wait for a lock, once there are any."""
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    connection = await connect(url)
    while not await connection.fetch(cut):
        pass
    connection.terminate()


async def test_a_connection_that_is_cut_before_the_commit_changes_nothing(
    backend: Postgres, tenants: tuple[Tenant, Tenant]
) -> None:
    tenant = tenants[0]
    await tenant.do(identify("ann"))
    async with backend.beside.transaction():
        await backend.beside.execute("SELECT 1 FROM profiles FOR UPDATE")
        asked = asyncio.ensure_future(tenant.batch(alias("ann", "card")))
        await cut_who_waits(backend.url)
        assert await refusal(asked) == "STORE_UNAVAILABLE"
    assert await tenant.whose("card") == [None]
    assert (await tenant.do(alias("ann", "card"))).outcome == v1.OUTCOME_LINKED


COMMIT_WAITS: Final = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM 1 FROM locks WHERE name = 'migrations' FOR UPDATE;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER waiting AFTER INSERT ON identifiers DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait();
"""


async def test_a_connection_that_is_cut_in_the_commit_leaves_the_outcome_unknown(
    backend: Postgres, tenants: tuple[Tenant, Tenant]
) -> None:
    await backend.beside.execute(COMMIT_WAITS)
    try:
        async with backend.beside.transaction():
            await backend.beside.execute("SELECT 1 FROM locks WHERE name = 'migrations' FOR UPDATE")
            asked = asyncio.ensure_future(tenants[0].batch(identify("ann")))
            await cut_who_waits(backend.url)
            assert await refusal(asked) == "OUTCOME_UNKNOWN"
        assert (await tenants[0].do(identify("ann"))).outcome == v1.OUTCOME_CREATED
    finally:
        await backend.beside.execute("DROP FUNCTION wait CASCADE")


async def test_a_database_that_does_not_answer_holds_no_group_for_ever(
    backend: Postgres, tenants: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = tenants[0]
    await tenant.do(identify("ann"))
    async with backend.beside.transaction():
        await backend.beside.execute("SELECT 1 FROM profiles FOR UPDATE")
        with monkeypatch.context() as patched:
            patched.setattr(postgres_connection, "LIMIT", 0.2)
            assert await refusal(tenant.batch(alias("ann", "card"))) == "STORE_UNAVAILABLE"
    assert (await tenant.do(alias("ann", "card"))).outcome == v1.OUTCOME_LINKED


async def test_a_lock_that_is_not_to_be_had_is_a_conflict(backend: Postgres, tenants: tuple[Tenant, Tenant]) -> None:
    await tenants[0].do(identify("ann"))
    for connection in store_of(tenants[0])._changes._connections:
        connection._begin += "; SET LOCAL lock_timeout = '100ms'"
    async with backend.beside.transaction():
        await backend.beside.execute("SELECT 1 FROM profiles FOR UPDATE")
        assert await refusal(tenants[0].batch(alias("ann", "card"))) == "CONFLICT"
    assert (await tenants[0].do(alias("ann", "card"))).outcome == v1.OUTCOME_LINKED


def store_of(tenant: Tenant) -> PostgresStore:
    assert isinstance(tenant.store, PostgresStore)
    return tenant.store


async def test_what_was_done_is_measured(backend: Postgres, tenants: tuple[Tenant, Tenant]) -> None:
    async with failing(backend, "40001", times=2):
        await tenants[0].do(identify("hot"))
    measured = await tenants[0].store.measure()
    assert measured.queues["changes"].retries == 2
    assert measured.changes["created"] == 1
    assert sum(measured.commits.counts) >= 1
    assert measured.sizes.keys() == {*TABLES} - {"api_keys", "workspaces"}


async def test_a_server_that_is_not_heard_any_more_while_it_prepares_a_statement_holds_no_locks(
    backend: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.beside.get_server_version().major < 17:
        pytest.skip("before PostgreSQL 17 TCP alone tells")
    monkeypatch.setattr(postgres_connection, "_SINCE_17", {"transaction_timeout": "300ms"})
    prepared = asyncio.Event()

    async def fall_silent(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT 1 FROM locks FOR UPDATE")
        await connection.prepare("SELECT 2")
        prepared.set()
        await asyncio.Event().wait()

    silent = asyncio.ensure_future(Connection(backend.url).transact(fall_silent))
    await prepared.wait()
    async with backend.beside.transaction():
        await backend.beside.execute("SET LOCAL lock_timeout = '3s'")
        await backend.beside.execute("SELECT 1 FROM locks FOR UPDATE")
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of the test's own."""
    cluster = Cluster.create(durable=True)
    cluster.start()
    yield cluster
    cluster.remove()


async def test_a_commit_that_no_synchronous_standby_has_confirmed_is_not_acknowledged(cluster: Cluster) -> None:
    store = await PostgresStore.open(PostgresUrl.parse(cluster.url()), PostgresOptions())
    key = operator_key(0)
    await store.add_first_api_key("acme", key)
    found = await store.find_api_key(key.digest)
    assert found is not None
    execute(cluster.url(), "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    asked = asyncio.ensure_future(Tenant(store, found.workspace).batch(identify("ann")))
    waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    beside = await asyncpg.connect(cluster.url())
    while not await beside.fetch(waits):
        pass
    assert await refusal(asked) == "OUTCOME_UNKNOWN"
    beside.terminate()
    await store.close()


# Replicas.


async def test_reads_that_may_be_late_go_to_the_replica_and_others_never(cluster: Cluster) -> None:
    primary = PostgresUrl.parse(cluster.url())
    await (await PostgresStore.open(primary, PostgresOptions())).close()
    standby = Cluster.copy_of(cluster)
    standby.start()
    try:
        store = await PostgresStore.open(primary, PostgresOptions(replica=PostgresUrl.parse(standby.url())))
        key = operator_key(0)
        await store.add_first_api_key("acme", key)
        found = await store.find_api_key(key.digest)
        assert found is not None
        execute(standby.url(), "SELECT pg_wal_replay_pause()")
        tenant = Tenant(store, found.workspace)
        await tenant.do(identify("ann"))
        ann = id_of("ann")
        assert await store.resolve(tenant.workspace, [ann], None, eventual=True) == {}
        assert await store.read_profile(tenant.workspace, ann, None, 10, None, eventual=True) is None
        assert await store.resolve(tenant.workspace, [ann], None) != {}
        standby.stop("immediate")
        assert await store.resolve(tenant.workspace, [ann], None, eventual=True) != {}
        assert await store.read_profile(tenant.workspace, ann, None, 10, None, eventual=True) is not None
        await store.close()
        standby.start()
        for attributes, recovers in (("read-write", False), ("standby", True), ("prefer-standby", True)):
            hosts = f"127.0.0.1:{cluster.port},127.0.0.1:{standby.port}"
            url = PostgresUrl.parse(f"postgresql://aka@{hosts}/postgres?target_session_attrs={attributes}")
            connection = await connect(url)
            assert await connection.fetchval("SELECT pg_is_in_recovery()") == recovers
            connection.terminate()
        turned = PostgresUrl.parse(f"postgresql://aka@127.0.0.1:{standby.port},127.0.0.1:{cluster.port}/postgres")
        await (await PostgresStore.open(turned, PostgresOptions())).close()  # a store writes, so a standby is no host
    finally:
        standby.remove()


# URLs.


async def test_a_host_that_is_not_there_is_passed_over(backend: Postgres) -> None:
    [(host, port)] = backend.url.hosts
    for query in ("", "?connect_timeout=2"):
        text = f"postgresql://aka@127.0.0.1:1,{host}:{port}/{backend.url.text.rpartition('/')[2]}{query}"
        (await connect(PostgresUrl.parse(text))).terminate()


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("postgresql://db/aka", (("db", None),)),
        ("postgres://ann:p%40ss@db:5433/aka", (("db", 5433),)),
        ("postgresql://one,two:6000,[::1]:7/aka", (("one", None), ("two", 6000), ("::1", 7))),
        ("postgresql:///aka?host=/run/postgresql", (("/run/postgresql", None),)),
        ("postgresql:///aka?host=one,two&port=1,2", (("one", 1), ("two", 2))),
        ("postgresql://%2Frun%2Fpostgresql/aka", (("/run/postgresql", None),)),
        ("postgresql:///aka", ()),
    ],
)
def test_hosts_are_read_from_a_url(text: str, hosts: Any) -> None:
    assert PostgresUrl.parse(text).hosts == hosts


@pytest.mark.parametrize(
    "text",
    ["mysql://db/aka", "postgresql://db:port/aka", "postgresql://db/aka?target_session_attrs=leader",
     "postgresql://db/aka?connect_timeout=soon", "postgresql://[::1/aka", "postgresql:///aka?host=one,two&port=1,2,3",
     "postgresql://db/aka?channel_binding=require"],
)  # fmt: skip
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no URL of PostgreSQL"):
        PostgresUrl.parse(text)


def test_a_url_is_shown_without_its_password() -> None:
    url = PostgresUrl.parse("postgresql://ann:hunter2@one:1,two/aka?password=hunter2&sslmode=require")
    assert str(url) == "postgresql://one:1,two/aka"
    assert "hunter2" not in repr(url)


async def test_sslmode_is_kept(backend: Postgres, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, own = authority.issue_cert("localhost"), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(own)
    trusted, stranger = tmp_path / "ca.pem", tmp_path / "stranger.pem"
    authority.cert_pem.write_to_path(str(trusted))
    trustme.CA().cert_pem.write_to_path(str(stranger))
    [(_, port)] = backend.url.hosts
    name = backend.url.text.rpartition("/")[2]
    async with tls_before(port, own) as front:
        for host, query, works in (
            ("localhost", f"sslmode=verify-full&sslrootcert={trusted}", True),
            ("localhost", "sslmode=require", True),
            ("127.0.0.1", f"sslmode=verify-ca&sslrootcert={trusted}", True),
            ("127.0.0.1", f"sslmode=verify-full&sslrootcert={trusted}", False),
            ("localhost", f"sslmode=verify-full&sslrootcert={stranger}", False),
        ):
            url = PostgresUrl.parse(f"postgresql://aka@{host}:{front}/{name}?{query}")
            try:
                (await connect(url)).terminate()
            except (OSError, ssl.SSLError):
                assert not works, query
            else:
                assert works, query
    plain = PostgresUrl.parse(f"postgresql://aka@127.0.0.1:{port}/{name}?sslmode=require")
    with pytest.raises(CannotOpen, match="cannot be used"):
        await on_database(plain, postgres_migrations.pending)


@asynccontextmanager
async def tls_before(port: int | None, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS, as PostgreSQL begins it, before a server that does not."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readexactly(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest
            writer.write(b"S")
            await writer.start_tls(context)
            behind = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass  # the client did not like the certificate
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


# Behind a pooler.


async def test_nothing_is_prepared_where_a_pooler_gives_each_transaction_another_connection(
    backend: Postgres,
) -> None:
    tenant = Tenant(
        await PostgresStore.open(backend.url, PostgresOptions(prepares=False)), await backend.add_workspace("acme")
    )
    await tenant.batch(identify("ann"), identify("bob"), create_alias(pair("crm", "1"), "bob"))
    await tenant.do(alias("ann", "bob", ALWAYS))
    assert len(set(await tenant.whose("ann", "bob", pair("crm", "1")))) == 1
    assert len(await tenant.identifiers("ann")) == 3
    shown: list[Any] = []

    async def look(connection: asyncpg.Connection) -> None:
        shown.extend(await connection.fetch("SELECT name FROM pg_prepared_statements WHERE name <> ''"))

    store = store_of(tenant)
    for pool in (store._changes, store._reads):
        for connection in pool._connections:
            await connection.snapshot(look)
    assert shown == []
    await store.close()


# Plans.


@pytest.fixture
def empty() -> Iterator[PostgresUrl]:
    """A database without tables."""
    text = fresh_database()
    yield PostgresUrl.parse(text)
    drop_database(text)


KEYS: Final = "bigint[], text[], text[], bigint[], bytea[]"
STATEMENTS: Final = {
    "graph": (_GRAPH, KEYS),
    "survivors": (_SURVIVORS, KEYS),
    "whose": (_WHOSE, KEYS),
    "lock": (_LOCK, "bigint[], bytea[]"),
    "labels": (_LABELS, "bigint[], bytea[]"),
    "kept": (_KEPT, "bigint[], bytea[], bigint"),
    "page": (_PAGE, "bigint, bytea, text, text, bigint"),
    "links": (_LINKS, "bigint, text, text, bigint"),
    "point": (_POINT, "bigint, bytea, bytea"),
    "delete": (_DELETE, "bigint, text, text"),
    "tombstones' parents": (postgres_data._TOMBSTONES, "bigint, bytea[]"),
    "attributes": (postgres_data._ATTRIBUTES, "bigint, bytea[]"),
    "push tokens": (postgres_data._PUSH_TOKENS, "bigint, bytea[]"),
    "numbers": (postgres_data._NUMBERS, "bigint, bytea[]"),
    "activities": (postgres_data._ACTIVITIES, "bigint, bytea[], bigint, bytea, integer, text[], bigint"),
}
CONDITIONS: Final = re.compile(r"using (\w+) on .*?\n *Index Cond: ([^\n]*)")
WHOLE: Final = {
    "identifiers_pkey": "name",
    "profiles_pkey": "id =",
    "answers_pkey": "request_id",
    "identifiers_by_origin": "origin",
    "tombstones_by_survivor": "survivor",
    "attributes_pkey": "origin",
    "push_tokens_pkey": "origin",
    "activities_pkey": "origin",
    "activities_by_time": "origin",
}
"""What an index is searched by, beside the workspace."""


@pytest.mark.parametrize(
    ("users", "vacuumed"), [(0, False), (0, True), (5, True), (300, True)], ids=["new", "empty", "a page", "some pages"]
)
async def test_every_statement_of_a_call_goes_by_whole_keys_however_small_the_tables_were_when_it_was_planned(
    empty: PostgresUrl, users: int, vacuumed: bool
) -> None:
    store = await PostgresStore.open(empty, PostgresOptions())
    made = await store.add_workspace("acme", operator_key(0))
    for number in range(users // 5):
        names = [f"user-{number}-{letter}" for letter in "abcde"]
        tenant = Tenant(store, made.workspace)
        await tenant.batch(*map(identify, names), alias(names[0], names[1], ALWAYS))
    if vacuumed:
        await on_database(empty, lambda connection: connection.execute("VACUUM ANALYZE"))

    async def explain(connection: asyncpg.Connection) -> dict[str, str]:
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        plans = {}
        for name, (statement, types) in STATEMENTS.items():
            await connection.execute(f"PREPARE planned ({types}) AS {statement}")
            nothing = ", ".join(["NULL"] * len(types.split(", ")))
            lines = await connection.fetch(f"EXPLAIN EXECUTE planned ({nothing})")
            plans[name] = "\n".join([line for (line,) in lines])
            await connection.execute("DEALLOCATE planned")
        return plans

    plans, _ = await store._changes._connections[0].transact(explain)
    await store.close()
    for name, plan in plans.items():
        assert not re.search("Seq Scan|Bitmap|Hash Join|Merge Join", plan), f"{name}\n{plan}"
        found = CONDITIONS.findall(plan)
        assert found, f"{name}\n{plan}"
        assert all(WHOLE[index] in condition for index, condition in found), f"{name}\n{plan}"


# Migrations.


async def test_migrations_that_are_applied_at_once_are_applied_once(empty: PostgresUrl) -> None:
    done = await asyncio.gather(*(on_database(empty, postgres_migrations.migrate) for _ in range(6)))
    assert sorted(migration for each in done for migration in each) == postgres_migrations.migrations()


@pytest.mark.parametrize(("name", "opens"), [("adds_a_column", True), ("contract_drops_a_column", False)])
async def test_a_server_of_the_version_before_starts_unless_what_it_needs_is_gone(
    empty: PostgresUrl, name: str, opens: bool
) -> None:
    await (await PostgresStore.open(empty, PostgresOptions())).close()
    later = f"INSERT INTO migrations VALUES (9999, '{name}', 0)"
    await on_database(empty, lambda connection: connection.execute(later))
    if opens:
        await (await PostgresStore.open(empty, PostgresOptions())).close()
    else:
        with pytest.raises(CannotOpen, match="from a newer aka"):
            await PostgresStore.open(empty, PostgresOptions())


async def test_a_key_that_held_every_permission_gets_the_new_ones_and_another_does_not(
    empty: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = "aliases.write keys.admin operator profiles.export profiles.merge profiles.read"
    known = postgres_migrations.migrations()
    with monkeypatch.context() as before:
        before.setattr(postgres_migrations, "migrations", lambda: known[:1])
        await on_database(empty, postgres_migrations.migrate)

    async def add(connection: asyncpg.Connection) -> None:
        await connection.execute("INSERT INTO workspaces (name, created_at) VALUES ('acme', 0)")
        for name, permissions in (("first", everything), ("other", "aliases.write profiles.read")):
            await connection.execute(
                "INSERT INTO api_keys (id, workspace, digest, name, prefix, permissions, created_at)"
                " SELECT $1, id, $1, $2, '', $3, 0 FROM workspaces",
                name.encode(),
                name,
                permissions,
            )

    await on_database(empty, add)
    await on_database(empty, postgres_migrations.migrate)
    rows = await on_database(empty, lambda connection: connection.fetch("SELECT name, permissions FROM api_keys"))
    assert {name: set(permissions.split()) for name, permissions in rows} == {
        "first": PERMISSIONS,
        "other": {"aliases.write", "profiles.read"},
    }


async def test_a_broken_migration_leaves_nothing(empty: PostgresUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [*postgres_migrations.migrations(), (9001, "broken", "CREATE TABLE later (id int); SELECT nothing")]
    monkeypatch.setattr(postgres_migrations, "migrations", lambda: known)
    with pytest.raises(CannotOpen):
        await PostgresStore.open(empty, PostgresOptions())
    monkeypatch.undo()
    assert await on_database(empty, postgres_migrations.pending) == []
    tables = await on_database(
        empty, lambda connection: connection.fetch("SELECT tablename FROM pg_tables WHERE tablename = 'later'")
    )
    assert tables == []


def test_migrations_are_numbered_from_1_on() -> None:
    known = postgres_migrations.migrations()
    assert [number for number, _, _ in known] == list(range(1, len(known) + 1))
