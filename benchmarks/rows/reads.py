"""Identifiers looked up over SQLite."""

from collections.abc import Iterator

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.rounds import Figure


def resolve(bench: Bench) -> Iterator[Figure]:
    """Resolve of one random id of many, beside the echo."""
    ids, key = bench.scale.ids, bench.driver.key
    with servers.aka(bench.folder / "resolve.db", key) as aka:
        new = calls.new_profiles(aka, key)
        bench.driver.run(aka, new, callers=8, seconds=300.0, most=ids // (2 * calls.BATCH))
        rounds = bench.beside_echo(aka, calls.resolve(aka, key, ids), 64)
    yield Figure("2", f"Resolve of 1 id of {ids:,}, 64 callers / echo", "calls/s", 0.62, 0.85, rounds)
