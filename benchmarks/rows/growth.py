"""A large SQLite database beside a small one, profiles that are large, and memory over many calls."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

from benchmarks import calls, merges, servers
from benchmarks.bench import Bench
from benchmarks.generate import count_ids, generate
from benchmarks.rounds import Figure, Round, Sample, in_turn
from benchmarks.rows.links import merge_rounds
from benchmarks.servers import Server

_FILLING: Final = 2
"""Slices of calls in which what is kept in memory fills up: all are Resolve."""
_SETTLES: Final = 0.5
"""Seconds after which a server has closed the connections of a driver that ended."""
_SMALL_ENOUGH: Final = 120.0
"""MiB."""


class _Grown(NamedTuple):
    """A server whose database was generated."""

    server: Server
    ids: int


def rates(bench: Bench) -> Iterator[Figure]:
    """Alias and Resolve, at random places of all ids, among many identifiers and among few; both read the file."""
    key, callers = bench.driver.key, 64
    with _grown(bench, bench.scale.grown, keeps=False) as large, _grown(bench, bench.scale.ids, keeps=False) as small:
        for name, made, floor, goal in (
            ("Resolve", calls.resolve, 0.90, 1.0),
            ("Alias", calls.scattered_alias, 0.75, 0.95),
        ):
            sides = [partial(bench.rate, server, made(server, key, ids), callers) for server, ids in (large, small)]
            what = f"{name} among {bench.scale.grown:,} / {bench.scale.ids:,}, {callers} callers"
            yield Figure("5", what, "calls/s", floor, goal, in_turn(bench.scale.rounds, *sides))


def large_profiles(bench: Bench) -> Iterator[Figure]:
    """Merges of large profiles and Alias to one, among many identifiers: beside small ones, and beside few."""
    scale, driver = bench.scale, bench.driver
    with _grown(bench, scale.grown) as (large, _), _grown(bench, scale.ids) as (small, _):
        among = f"merge among {scale.grown:,}"
        for what, prepare in (("identifiers", merges.with_identifiers), ("tombstones", merges.with_tombstones)):
            rounds = merge_rounds(bench, large, prepare)
            yield _figure("6", f"{among}, {scale.many:,} {what} each / 2", "ms", 20.0, 3.0, *rounds)

        pairs = (scale.merge_rounds + 1) * scale.merges
        sides = []
        for server in (large, small):
            merges.with_identifiers(driver, server, "again", scale.many, pairs)
            sides.append(partial(bench.time, server, merges.merge(driver, server, "again"), scale.merges))
        title = f"{among} / {scale.ids:,}, {scale.many:,} ids each"
        yield _figure("6", title, "ms", 1.33, 1.05, *in_turn(scale.merge_rounds, *sides))

        sides = []
        for size in (scale.many, 2):
            kind, batches = f"batch-{size}", scale.merge_rounds + 2
            merges.with_identifiers(driver, large, kind, size, batches * calls.ITEMS)
            sides.append(partial(bench.time, large, merges.merge_many(driver, large, kind), 1))
        title = f"{calls.ITEMS} merges a call, {scale.many:,} identifiers each / 2"
        yield _figure("6", title, "ms", 20.0, 3.0, *in_turn(scale.merge_rounds, *sides))

        sides = []
        for size in (scale.nearly_full, 2):
            merges.with_identifiers(driver, large, f"held-{size}", size, 1)
            sides.append(partial(bench.time, large, merges.alias_to(driver, large, f"held-{size}"), scale.merges))
        title = f"Alias to a profile of {scale.nearly_full:,} identifiers / 2"
        yield _figure("6", title, "ms", 3.0, 1.1, *in_turn(scale.merge_rounds, *sides))


def memory(bench: Bench) -> Iterator[Figure]:
    """What a server has after many calls, Alias and Resolve, beside what it had after the first."""
    scale, key = bench.scale, bench.driver.key
    resident: list[float] = []
    handles: list[float] = []
    with _grown(bench, scale.grown) as (server, ids):
        alias, resolve = calls.new_alias(server, key), calls.resolve(server, key, ids)
        for place in range(scale.slices):
            kinds = [resolve] if place < _FILLING else [alias, resolve]
            for made in kinds:
                bench.driver.run(server, made, callers=64, seconds=600.0, most=scale.slice // len(kinds))
            time.sleep(_SETTLES)
            resident.append(server.resident())
            handles.append(server.handles())
    counted = range(_FILLING - 1, scale.slices)
    slope, _ = statistics.linear_regression(counted, resident[_FILLING - 1 :])
    all_calls, first = f"{scale.slice * scale.slices:,}", f"{scale.slice * _FILLING:,}"
    mib = {f"after_slice_{place}": each for place, each in enumerate(resident, 1)}
    grown = Round(Sample(slope, mib), Sample(1.0))
    yield _figure("13", f"MiB more each {scale.slice:,} calls after {first} / 1", "MiB", 1.0, 0.1, grown)
    held = Round(Sample(resident[-1]), Sample(_SMALL_ENOUGH))
    yield _figure("13", f"MiB after {all_calls} calls / {_SMALL_ENOUGH:g}", "MiB", 2.0, 1.0, held)
    opened = Round(Sample(handles[-1]), Sample(handles[_FILLING - 1]))
    yield _figure("13", f"file handles after {all_calls} calls / {first}", "files", 1.0, 1.0, opened)


@contextmanager
def _grown(bench: Bench, identifiers: int, *, keeps: bool = True) -> Iterator[_Grown]:
    """Serve a database with so many identifiers, which a run generates once."""
    file = bench.folder / f"generated-{identifiers}.db"
    if not file.exists():
        generate(file, identifiers)
    ids = count_ids(file)
    with servers.aka(file, bench.driver.key, keeps=keeps) as server:
        yield _Grown(server, ids)


def _figure(row: str, what: str, unit: str, floor: float, goal: float, *rounds: Round) -> Figure:
    return Figure(row, what, unit, floor, goal, rounds, lower_is_better=True)
