"""Links written over SQLite: one a call, 50 a call, merges, and files of many."""

from collections.abc import Iterator
from functools import partial

from aka.server.link_import import CHUNK_LINES
from benchmarks import calls, commands, links, merges, servers
from benchmarks.bench import Bench
from benchmarks.raw import raw_database
from benchmarks.rounds import Figure, Round, Sample, in_turn
from benchmarks.servers import Server


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


def create_aliases(bench: Bench) -> Iterator[Figure]:
    """CreateAliases of 50 new user aliases, beside raw sqlite3 that writes the same rows, 50 a transaction."""
    items, key = calls.ITEMS, bench.driver.key
    for callers, floor, goal in ((1, 0.50, 0.75), (8, 0.65, 0.90), (32, 0.75, 1.1)):
        ours, raws = bench.folder / f"create-{callers}.db", bench.folder / f"create-{callers}-raw.db"
        with servers.aka(ours, key) as aka, raw_database(raws) as raw:
            made = calls.new_user_aliases(aka, key)
            rounds = bench.beside_raw(aka, made, callers, partial(raw.create_aliases, items))
        what = f"CreateAliases of {items}, {callers} caller{'s' * (callers > 1)} / raw"
        yield Figure("4", what, "rows/s", floor, goal, rounds)


def merge(bench: Bench) -> Iterator[Figure]:
    """The time of a merge of two profiles with many identifiers, or tombstones, beside that of a pair with two."""
    for what, prepare in (("identifiers", merges.with_identifiers), ("tombstones", merges.with_tombstones)):
        with servers.aka(bench.folder / f"{what}.db", bench.driver.key) as aka:
            rounds = merge_rounds(bench, aka, prepare)
        title = f"merge, {bench.scale.many:,} {what} each / 2, 1 caller"
        yield Figure("6", title, "ms", 20.0, 3.0, rounds, lower_is_better=True)


def merge_rounds(bench: Bench, aka: Server, prepare: merges.Prepare) -> list[Round]:
    """Time merges of pairs with many and merges of pairs with two."""
    scale, driver = bench.scale, bench.driver
    pairs = (scale.merge_rounds + 1) * scale.merges
    sides = []
    for size in (scale.many, 2):
        kind = f"{prepare.__name__}-{size}"
        prepare(driver, aka, kind, size, pairs)
        sides.append(partial(bench.time, aka, merges.merge(driver, aka, kind), scale.merges))
    return in_turn(scale.merge_rounds, *sides)


def import_and_export(bench: Bench) -> Iterator[Figure]:
    """A file of links imported, exported and compared, beside raw sqlite3 with the same rows; each once."""
    folder, lines, key = bench.folder, bench.scale.lines, bench.driver.key
    given, taken = folder / "links.csv", folder / "exported.csv"
    links.write(given, lines)
    with servers.aka(folder / "links.db", key) as aka, raw_database(folder / "links-raw.db") as raw:
        imported = Round(
            Sample(lines / commands.aka(aka, key, "import", given, "--quiet")),
            Sample(raw.import_links(lines, min(lines, CHUNK_LINES))),
        )
        exported = Round(
            Sample(1.5 * lines / commands.aka(aka, key, "export", taken, "--quiet")),
            Sample(1.5 * lines / raw.export_links(folder / "raw.csv")),
        )
        links.compare(taken, lines)
    yield Figure("16", f"aka import of {lines:,} lines / raw", "lines/s", 0.30, 0.50, [imported])
    yield Figure("16", f"aka export of {lines * 3 // 2:,} links / raw", "links/s", 0.30, 0.50, [exported])
