"""The REST gateway."""

from collections.abc import Iterator

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.rounds import Figure, in_turn


def alias(bench: Bench) -> Iterator[Figure]:
    """Durable `POST /alias` of two new ids, beside a bare endpoint with requests and answers of the same sizes."""
    connections, key = 64, bench.driver.key
    with servers.gateway(bench.folder / "rest.db", key) as aka, servers.bare_rest(bench.folder) as bare:
        made = calls.new_rest_alias(aka, key)
        bare_made = calls.new_rest_alias(bare, key)
        rounds = in_turn(
            bench.scale.rounds,
            lambda: bench.rate(aka, made, connections),
            lambda: bench.rate(bare, bare_made, connections),
        )
    yield Figure("7", f"REST POST /alias, {connections} connections / bare", "calls/s", 0.40, 0.65, rounds)
