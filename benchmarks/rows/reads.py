"""Identifiers looked up over SQLite."""

from collections.abc import Iterator
from functools import partial

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.raw_reads import raw_reader
from benchmarks.rounds import Figure


def resolve(bench: Bench, *, keeps: bool = True) -> Iterator[Figure]:
    """Resolve of one random id of many, which are kept in memory, beside the echo."""
    ids, key = bench.scale.ids, bench.driver.key
    with servers.aka(bench.folder / f"resolve-{keeps}.db", key, keeps=keeps) as aka:
        bench.make_profiles(aka)
        bench.look_up_often(aka)
        rounds = bench.beside_echo(aka, calls.resolve(aka, key, ids), 64)
    if keeps:
        yield Figure("2", f"Resolve of 1 id of {ids:,}, 64 callers / echo", "calls/s", 0.62, 0.85, rounds)
    else:
        yield Figure("2b", "the same, none kept in memory", "calls/s", 0.50, 0.62, rounds)


def resolve_from_the_file(bench: Bench) -> Iterator[Figure]:
    """Resolve of one random id of many, which are read from the file, beside the echo."""
    yield from resolve(bench, keeps=False)


def resolve_many(bench: Bench, *, keeps: bool = True) -> Iterator[Figure]:
    """Resolve of 1,000 random ids of many a call, kept in memory, beside raw sqlite3 that looks up each."""
    ids, key, many, database = bench.scale.ids, bench.driver.key, calls.MANY, bench.folder / f"many-{keeps}.db"
    with servers.aka(database, key, keeps=keeps) as aka, raw_reader(database) as raw:
        bench.make_profiles(aka)
        bench.look_up_often(aka)
        made = calls.resolve(aka, key, ids, many)
        names = [f"id-{place:08}" for place in range(ids)]
        for callers in (1, 8):
            rounds = bench.beside_raw(aka, made, callers, partial(raw.resolve, names, many))
            who = f"{callers} caller{'s' * (callers > 1)}"
            if keeps:
                yield Figure("3", f"Resolve of {many:,} ids of {ids:,}, {who} / raw", "ids/s", 0.50, 1.0, rounds)
            else:
                yield Figure("3b", f"the same, none kept in memory, {who}", "ids/s", 0.35, 0.50, rounds)


def resolve_many_from_the_file(bench: Bench) -> Iterator[Figure]:
    """Resolve of 1,000 random ids of many a call, read from the file, beside raw sqlite3 that looks up each."""
    yield from resolve_many(bench, keeps=False)
