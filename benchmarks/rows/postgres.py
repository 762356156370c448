"""Links written and identifiers looked up over PostgreSQL, by one process and by two."""

from collections.abc import Iterator

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.raw_postgres import postgres
from benchmarks.rounds import Figure, Sample, in_turn


def alias(bench: Bench) -> Iterator[Figure]:
    """Durable Alias of two new ids over PostgreSQL, beside pgbench that writes the same rows by one statement."""
    scale, callers, key = bench.scale, 64, bench.driver.key
    with postgres() as raw, servers.aka(bench.folder / "postgres-alias", key, raw.cluster.url("aka")) as aka:
        made = calls.new_alias(aka, key)
        rounds = in_turn(
            scale.rounds,
            lambda: bench.rate(aka, made, callers),
            lambda: Sample(raw.alias(min(scale.seconds, 2.0), callers)),
        )
    yield Figure("9", f"Alias, PostgreSQL, {callers} callers / pgbench", "calls/s", 0.50, 0.75, rounds)


def resolve(bench: Bench) -> Iterator[Figure]:
    """Resolve of one random id of many over PostgreSQL, beside the echo."""
    ids, key = bench.scale.ids, bench.driver.key
    with postgres() as raw, servers.aka(bench.folder / "postgres-resolve", key, raw.cluster.url("aka")) as aka:
        bench.make_profiles(aka)
        rounds = bench.beside_echo(aka, calls.resolve(aka, key, ids), 64)
    yield Figure("10", f"Resolve of 1 id of {ids:,}, PostgreSQL, 64 callers / echo", "calls/s", 0.55, 0.80, rounds)


def workers(bench: Bench) -> Iterator[Figure]:
    """Durable Alias of two new ids by two workers over PostgreSQL, beside one over the same.

    The kernel spreads connections, so there are more than in other rows.
    """
    callers, connections, key = 64, 32, bench.driver.key
    with (
        postgres() as raw,
        servers.aka(bench.folder / "postgres-one", key, raw.cluster.url("aka")) as one,
        servers.aka(bench.folder / "postgres-two", key, raw.cluster.url("aka"), workers=2) as two,
    ):
        made = calls.new_alias(one, key)
        rounds = in_turn(
            bench.scale.rounds,
            lambda: bench.rate(two, made, callers, connections),
            lambda: bench.rate(one, made, callers, connections),
        )
    yield Figure("11", f"Alias, PostgreSQL, {callers} callers: 2 workers / 1", "calls/s", 1.0, 1.3, rounds)
