"""How long calls take at half of the rate that is possible: alone, and beside crowds.

The calls come at a fixed rate, and the time of each counts from when it was due.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from benchmarks import calls, servers
from benchmarks.bench import Bench, details
from benchmarks.crowds import Crowd, crowds
from benchmarks.generate import count_ids, generate
from benchmarks.load import Calls
from benchmarks.rounds import Figure, Round, Sample, all_in_turn
from benchmarks.servers import Server

_CALLERS: Final = 64
"""Calls that may be under way at once; those that are due beyond them wait, and that counts."""


def latency(bench: Bench) -> Iterator[Figure]:
    """The 99th percentile of Resolve's and of Alias's times: alone beside the echo's, and crowded beside alone."""
    scale, driver, database = bench.scale, bench.driver, bench.folder / "latency.db"
    generate(database, scale.ids)
    ids = count_ids(database)
    with servers.aka(database, driver.key) as aka:
        beside = crowds(driver, aka, ids, times=2 * (scale.crowds + 1), seconds=_seconds(bench), most=scale.most)
        for name, made in (("Resolve", calls.resolve), ("Alias", calls.scattered_alias)):
            rounds = _rounds(bench, aka, made(aka, driver.key, ids), beside)
            yield _figure(
                f"{name} p99 at half its rate / echo's",
                4.0,
                2.0,
                [Round(each["alone"], each["echo"]) for each in rounds],
            )
            for crowd in beside:
                crowded = [Round(each[crowd], each["alone"]) for each in rounds]
                yield _figure(f"{name} p99 beside {crowd} / alone", 3.0, 1.5, crowded)


def _rounds(bench: Bench, aka: Server, made: Calls, beside: Mapping[str, Crowd]) -> list[dict[str, Sample]]:
    """Time calls at half of the rate that is possible, with each crowd and alone, and the echo's at that rate."""
    scale = bench.scale
    rate = bench.rate(aka, made, _CALLERS).value / 2
    seconds = min(_seconds(bench), scale.most / rate)

    def timed(server: Server, made: Calls) -> Sample:
        measured = bench.driver.run(
            server, made, callers=_CALLERS, seconds=seconds, warm=scale.warm, most=scale.most, rate=rate
        )
        return Sample(measured.p99 * 1e3, {"rate": rate, **details(measured)})

    def crowded(crowd: Crowd) -> Sample:
        with crowd(seconds):
            return timed(aka, made)

    with servers.echo(made.answer_size, bench.folder) as echo:
        alone = {"alone": partial(timed, aka, made), "echo": partial(timed, echo, calls.echoed(made))}
        return all_in_turn(scale.crowds, alone | {name: partial(crowded, crowd) for name, crowd in beside.items()})


def _seconds(bench: Bench) -> float:
    return 1.5 * bench.scale.seconds


def _figure(what: str, floor: float, goal: float, rounds: list[Round]) -> Figure:
    return Figure("15", what, "ms", floor, goal, rounds, lower_is_better=True)
