"""What every call passes, measured alone."""

from collections.abc import Iterator

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.rounds import Figure


def no_op(bench: Bench) -> Iterator[Figure]:
    """A method that does nothing behind aka's pipeline, beside the echo."""
    with servers.no_op(bench.driver.key, bench.folder) as no_op:
        rounds = bench.beside_echo(no_op, calls.new_alias(no_op, bench.driver.key), 64)
    yield Figure("8", "pipeline on a no-op, 64 callers / echo", "calls/s", 0.85, 0.92, rounds)
