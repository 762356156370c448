"""Profiles' data, tracked and exported over SQLite."""

from collections.abc import Iterator
from functools import partial

from benchmarks import data, servers
from benchmarks.bench import Bench
from benchmarks.raw import raw_database
from benchmarks.raw_reads import raw_reader
from benchmarks.rounds import Figure


def track(bench: Bench) -> Iterator[Figure]:
    """Track of 75 events of as many users, beside raw sqlite3 that writes the same rows, 75 a transaction."""
    ids, key, events = bench.scale.ids, bench.driver.key, data.EVENTS
    with servers.aka(bench.folder / "track.db", key) as aka, raw_database(bench.folder / "track-raw.db") as raw:
        bench.make_profiles(aka)
        raw.add_profiles(ids // 2)
        made = data.track(aka, key, ids)
        for callers, floor, goal in ((1, 0.50, 0.75), (8, 0.65, 0.90)):
            rounds = bench.beside_raw(aka, made, callers, partial(raw.track, events))
            what = f"Track of {events} events, {callers} caller{'s' * (callers > 1)} / raw"
            yield Figure("17", what, "rows/s", floor, goal, rounds)


def export_profiles(bench: Bench) -> Iterator[Figure]:
    """ExportProfiles of 50 profiles with data, beside raw sqlite3 that reads the same rows and makes no answer."""
    key, exported, number = bench.driver.key, data.EXPORTED, bench.scale.ids // 10
    database = bench.folder / "export.db"
    with servers.aka(database, key) as aka, raw_reader(database) as raw:
        data.fill_profiles(bench.driver, aka, number)
        made = data.export_profiles(aka, key, number)
        names = [f"user-{place:08}" for place in range(number)]
        for callers in (1, 8):
            rounds = bench.beside_raw(aka, made, callers, partial(raw.export_profiles, names, exported))
            what = f"ExportProfiles of {exported}, {callers} caller{'s' * (callers > 1)} / raw"
            yield Figure("18", what, "profiles/s", 0.15, 0.50, rounds)
