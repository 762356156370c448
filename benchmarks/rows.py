"""The rows: what is measured beside what, and what the ratio must reach."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aka.server.link_import import CHUNK_LINES
from benchmarks import calls, links, merges, servers
from benchmarks.load import CONNECTIONS, Calls, Driver, Measured
from benchmarks.raw import raw_database
from benchmarks.raw_postgres import postgres
from benchmarks.rounds import Figure, Round, Sample, Scale, in_turn
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """What a row needs: a driver, a folder on a disk, and how much to measure."""

    driver: Driver
    folder: Path
    scale: Scale

    def load(self, server: Server, made: Calls, callers: int, connections: int = CONNECTIONS) -> Measured:
        """Load a server for one side of a round."""
        return self.driver.run(
            server,
            made,
            callers=callers,
            connections=connections,
            seconds=self.scale.seconds,
            warm=self.scale.warm,
            most=self.scale.most,
        )

    def rate(self, server: Server, made: Calls, callers: int, connections: int = CONNECTIONS) -> Sample:
        """Load a server and return the calls that it answered a second."""
        measured = self.load(server, made, callers, connections)
        return Sample(measured.rate, _details(measured))

    def beside_echo(self, server: Server, made: Calls, callers: int) -> list[Round]:
        """Measure a server and the echo, with calls of the same sizes, in turn."""
        echoed = calls.echoed(made)
        with servers.echo(made.answer_size, self.folder) as echo:
            return in_turn(
                self.scale.rounds,
                lambda: self.rate(server, made, callers),
                lambda: self.rate(echo, echoed, callers),
            )


def alias(bench: Bench) -> Iterator[Figure]:
    """Durable Alias of two new ids, answered after COMMIT, beside the echo."""
    for callers, floor, goal in ((8, 0.38, 0.55), (64, 0.57, 0.75), (256, 0.58, 0.80)):
        with servers.aka(bench.folder / f"alias-{callers}.db", bench.driver.key) as aka:
            rounds = bench.beside_echo(aka, calls.new_alias(aka, bench.driver.key), callers)
        yield Figure("1", f"Alias, {callers} callers / echo", "calls/s", floor, goal, rounds)


def alias_alone(bench: Bench) -> Iterator[Figure]:
    """Alias of two new ids from one caller, beside a call of the echo and then raw sqlite3's commit of the rows."""
    scale, key = bench.scale, bench.driver.key
    with servers.aka(bench.folder / "alone.db", key) as aka, raw_database(bench.folder / "alone-raw.db") as raw:
        made = calls.new_alias(aka, key)
        echoed = calls.echoed(made)
        with servers.echo(made.answer_size, bench.folder) as echo:

            def beside() -> Sample:
                answered = bench.load(echo, echoed, 1).rate
                committed = raw.alias(scale.seconds / 2, scale.most)
                return Sample(1 / (1 / answered + 1 / committed), {"echo": answered, "commits": committed})

            rounds = in_turn(scale.rounds, lambda: bench.rate(aka, made, 1), beside)
    yield Figure("1b", "Alias, 1 caller / (echo + raw commit)", "calls/s", 0.60, 0.80, rounds)


def resolve(bench: Bench) -> Iterator[Figure]:
    """Resolve of one random id of many, beside the echo."""
    ids, key = bench.scale.ids, bench.driver.key
    with servers.aka(bench.folder / "resolve.db", key) as aka:
        new = calls.new_profiles(aka, key)
        bench.driver.run(aka, new, callers=8, seconds=300.0, most=ids // (2 * calls.BATCH))
        rounds = bench.beside_echo(aka, calls.resolve(aka, key, ids), 64)
    yield Figure("2", f"Resolve of 1 id of {ids:,}, 64 callers / echo", "calls/s", 0.62, 0.85, rounds)


def create_aliases(bench: Bench) -> Iterator[Figure]:
    """CreateAliases of 50 new user aliases, beside raw sqlite3 that writes the same rows, 50 a transaction."""
    for callers, floor, goal in ((1, 0.50, 0.75), (8, 0.65, 0.90), (32, 0.75, 1.1)):
        what = f"CreateAliases of {calls.ITEMS}, {callers} caller{'s' * (callers > 1)} / raw"
        yield Figure("4", what, "rows/s", floor, goal, _create_aliases(bench, callers))


def _create_aliases(bench: Bench, callers: int) -> list[Round]:
    scale, items, key = bench.scale, calls.ITEMS, bench.driver.key
    with (
        servers.aka(bench.folder / f"create-{callers}.db", key) as aka,
        raw_database(bench.folder / f"create-{callers}-raw.db") as raw,
    ):
        made = calls.new_user_aliases(aka, key)

        def served() -> Sample:
            measured = bench.load(aka, made, callers)
            return Sample(measured.rate * items, _details(measured))

        def written() -> Sample:
            return Sample(raw.create_aliases(scale.seconds - scale.warm, scale.most, items) * items)

        return in_turn(scale.rounds, served, written)


def merge(bench: Bench) -> Iterator[Figure]:
    """The time of a merge of two profiles with many identifiers, or tombstones, beside that of a pair with two."""
    for what, prepare in (("identifiers", merges.with_identifiers), ("tombstones", merges.with_tombstones)):
        rounds = _merge(bench, prepare)
        title = f"merge, {bench.scale.many:,} {what} each / 2, 1 caller"
        yield Figure("6", title, "ms", 20.0, 3.0, rounds, lower_is_better=True)


def _merge(bench: Bench, prepare: merges.Prepare) -> list[Round]:
    scale, driver = bench.scale, bench.driver
    pairs = (scale.merge_rounds + 1) * scale.merges
    with servers.aka(bench.folder / f"{prepare.__name__}.db", driver.key) as aka:
        prepare(driver, aka, "many", scale.many, pairs)
        prepare(driver, aka, "few", 2, pairs)
        many, few = merges.merge(driver, aka, "many"), merges.merge(driver, aka, "few")

        def took(made: Calls) -> Sample:
            measured = driver.run(aka, made, callers=1, seconds=60.0, most=scale.merges)
            return Sample(measured.p50 * 1000, _details(measured))

        return in_turn(scale.merge_rounds, lambda: took(many), lambda: took(few))


def pipeline(bench: Bench) -> Iterator[Figure]:
    """A method that does nothing behind aka's pipeline, beside the echo."""
    with servers.no_op(bench.driver.key, bench.folder) as no_op:
        rounds = bench.beside_echo(no_op, calls.new_alias(no_op, bench.driver.key), 64)
    yield Figure("8", "pipeline on a no-op, 64 callers / echo", "calls/s", 0.85, 0.92, rounds)


def postgres_alias(bench: Bench) -> Iterator[Figure]:
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


def postgres_resolve(bench: Bench) -> Iterator[Figure]:
    """Resolve of one random id of many over PostgreSQL, beside the echo."""
    ids, key = bench.scale.ids, bench.driver.key
    with postgres() as raw, servers.aka(bench.folder / "postgres-resolve", key, raw.cluster.url("aka")) as aka:
        new = calls.new_profiles(aka, key)
        bench.driver.run(aka, new, callers=8, seconds=300.0, most=ids // (2 * calls.BATCH))
        rounds = bench.beside_echo(aka, calls.resolve(aka, key, ids), 64)
    yield Figure("10", f"Resolve of 1 id of {ids:,}, PostgreSQL, 64 callers / echo", "calls/s", 0.55, 0.80, rounds)


def postgres_workers(bench: Bench) -> Iterator[Figure]:
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


def import_and_export(bench: Bench) -> Iterator[Figure]:
    """A file of links imported, exported and compared, beside raw sqlite3 with the same rows; each once."""
    folder, lines, key = bench.folder, bench.scale.lines, bench.driver.key
    given, taken = folder / "links.csv", folder / "exported.csv"
    links.write(given, lines)
    with servers.aka(folder / "links.db", key) as aka, raw_database(folder / "links-raw.db") as raw:
        imported = Round(
            Sample(lines / links.run(aka, key, "import", given)),
            Sample(raw.import_links(lines, min(lines, CHUNK_LINES))),
        )
        exported = Round(
            Sample(1.5 * lines / links.run(aka, key, "export", taken)),
            Sample(1.5 * lines / raw.export_links(folder / "raw.csv")),
        )
        links.compare(taken, lines)
    yield Figure("16", f"aka import of {lines:,} lines / raw", "lines/s", 0.30, 0.50, [imported])
    yield Figure("16", f"aka export of {lines * 3 // 2:,} links / raw", "links/s", 0.30, 0.50, [exported])


ROWS: Final[Mapping[str, Callable[[Bench], Iterator[Figure]]]] = {
    "1": alias,
    "1b": alias_alone,
    "2": resolve,
    "4": create_aliases,
    "6": merge,
    "8": pipeline,
    "9": postgres_alias,
    "10": postgres_resolve,
    "11": postgres_workers,
    "16": import_and_export,
}


def _details(measured: Measured) -> dict[str, float]:
    return {
        "p50_ms": round(measured.p50 * 1e3, 3),
        "p99_ms": round(measured.p99 * 1e3, 3),
        "server_cpu_us": round(measured.server_cpu * 1e6, 1),
        "driver_busy": measured.driver_busy,
    }
