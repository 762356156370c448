"""Identifiers looked up over SQLite."""

from collections.abc import Iterator
from functools import partial

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.raw_reads import raw_reader
from benchmarks.rounds import Figure


def resolve(bench: Bench) -> Iterator[Figure]:
    """Resolve of one random id of many, beside the echo."""
    ids, key = bench.scale.ids, bench.driver.key
    with servers.aka(bench.folder / "resolve.db", key) as aka:
        bench.make_profiles(aka)
        rounds = bench.beside_echo(aka, calls.resolve(aka, key, ids), 64)
    yield Figure("2", f"Resolve of 1 id of {ids:,}, 64 callers / echo", "calls/s", 0.62, 0.85, rounds)


def resolve_many(bench: Bench) -> Iterator[Figure]:
    """Resolve of 1,000 random ids of many a call, beside raw sqlite3 that looks them up one by one."""
    ids, key, many, database = bench.scale.ids, bench.driver.key, calls.MANY, bench.folder / "resolve-many.db"
    with servers.aka(database, key) as aka, raw_reader(database) as raw:
        bench.make_profiles(aka)
        made = calls.resolve(aka, key, ids, many)
        names = [f"id-{place:08}" for place in range(ids)]
        for callers in (1, 8):
            rounds = bench.beside_raw(aka, made, callers, partial(raw.resolve, names, many))
            what = f"Resolve of {many:,} ids of {ids:,}, {callers} caller{'s' * (callers > 1)} / raw"
            yield Figure("3", what, "ids/s", 0.50, 1.0, rounds)
