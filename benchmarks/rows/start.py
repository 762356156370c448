"""Processes that start: new ones each time, whose files are compiled and in the system's memory."""

from collections.abc import Callable, Iterator

from benchmarks import commands, servers
from benchmarks.bench import Bench
from benchmarks.rounds import Figure, Round, Sample, in_turn

_USER = "user_123"


def start(bench: Bench) -> Iterator[Figure]:
    """`aka serve` until it is ready, on a database that is there, and `aka resolve`, beside an import of grpc."""
    key, database = bench.driver.key, bench.folder / "start.db"

    def serve() -> float:
        with servers.gateway(database, key) as aka:
            return aka.ready_after

    yield _figure("aka serve until ready", _beside_import(bench, serve))
    with servers.aka(database, key) as aka:
        commands.aka(aka, key, "alias", _USER, "legacy_999", "--create-missing")
        yield _figure("aka resolve", _beside_import(bench, lambda: commands.aka(aka, key, "resolve", "legacy_999")))


def _beside_import(bench: Bench, start: Callable[[], float]) -> list[Round]:
    def took(measure: Callable[[], float]) -> Sample:
        return Sample(measure() * 1e3)

    return in_turn(bench.scale.rounds, lambda: took(start), lambda: took(commands.import_grpc))


def _figure(what: str, rounds: list[Round]) -> Figure:
    return Figure("14", f"{what}, cold / import of grpc", "ms", 4.0, 2.0, rounds, lower_is_better=True)
