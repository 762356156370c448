"""A database with any number of identifiers, made in a minute or two: `python -m benchmarks.generate FILE IDENTIFIERS`.

The rows are those that aka would have written, journal included, so that `aka check` finds the file sound; they are
inserted without aka, in one transaction that is not synced. The same number and seed make the same rows. The ids are
`id-00000000`, `id-00000001` and so on, in an order that is shuffled, so that the indexes are as full as indexes are
that grew.
"""

import argparse
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from aka.server.bootstrap import WORKSPACE
from aka.server.store.sqlite_file import own
from aka.server.store.sqlite_migrations import migrate
from aka.server.store.store import CannotOpen

Row = tuple[Any, ...]

LABEL: Final = "crm"
"""Of the user aliases, whose names are as wide as the ids."""

_AT_ONCE: Final = 10_000
_BEGAN: Final = 1_735_689_600_000_000
"""2025-01-01, when the first person came, in microseconds since the epoch."""
_APART: Final = 2_000_000
"""Microseconds from one person to the next."""
_BY: Final = (bytearray(16), "generated")


class Shape(NamedTuple):
    """What a person has."""

    ids: int
    user_aliases: int = 0
    anonymous_ids: int = 0
    """Each was an anonymous profile of its own, which was merged."""

    @property
    def size(self) -> int:
        """Return the number of identifiers."""
        return sum(self)


_SHAPES: Final = {
    Shape(1): 3,
    Shape(2): 4,
    Shape(2, 1): 4,
    Shape(4, 1): 2,
    Shape(1, 0, 1): 2,
    Shape(3, 1, 2): 1,
    Shape(0, 1): 1,
}
"""Shapes of people, and how often each comes."""

_WORKSPACE: Final = "INSERT INTO workspaces (id, name, created_at) VALUES (1, ?, ?)"
_LIVING: Final = (
    "INSERT INTO profiles (workspace, id, survivor, primary_id, identifiers, user_aliases, tombstones, created_at,"
    " updated_at) VALUES (1, ?1, ?1, nullif(?2, ''), ?3, ?4, ?5, ?6, ?6)"
)
_TOMBSTONE: Final = (
    "INSERT INTO profiles (workspace, id, survivor, parent, merged_by, identifiers, user_aliases, tombstones,"
    " created_at, updated_at) VALUES (1, ?1, ?2, ?2, ?3, 0, 0, 0, ?4, ?4)"
)
_IDENTIFIER: Final = (
    "INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at) VALUES (1, ?, ?, ?, ?, ?)"
)
_LINK_ENTRY: Final = (
    "INSERT INTO journal (workspace, sequence, at, api_key, request, kind, profile, label, name, flag, anonymous)"
    " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MERGE_ENTRY: Final = (
    "INSERT INTO journal (workspace, sequence, at, api_key, request, kind, profile, label, flag, anonymous, other,"
    " created_at, other_created_at) VALUES (1, ?1, ?2, ?3, ?4, 'merged', ?5, '', 0, 0, ?6, ?2, ?2)"
)


class _People:
    """Makes the rows of one person after another."""

    def __init__(self, random: Random, ids: Iterator[int]) -> None:
        self._random = random
        self._ids = ids
        self._user_aliases = count()
        self._sequences = count(1)
        self._now = _BEGAN

    def rows(self, shapes: Iterable[Shape]) -> dict[str, list[Row]]:
        """Return the rows of some people, by the statement that inserts them."""
        made: dict[str, list[Row]] = {
            statement: [] for statement in (_LIVING, _TOMBSTONE, _IDENTIFIER, _LINK_ENTRY, _MERGE_ENTRY)
        }
        for shape in shapes:
            self._now += _APART
            self._add(made, shape)
        return made

    def _add(self, made: dict[str, list[Row]], shape: Shape) -> None:
        ids, user_aliases, anonymous_ids = shape
        now, profile = self._now, self._profile_id()
        names = [("", f"id-{next(self._ids):08}") for _ in range(ids)]
        names += ((LABEL, f"id-{next(self._user_aliases):08}") for _ in range(user_aliases))
        primary = names[0][1] if ids else ""
        made[_LIVING].append((profile, primary, shape.size, user_aliases, anonymous_ids, now))
        for place, (label, name) in enumerate(names):
            kind, flag = ("linked", 0) if place else ("created", 1 if primary else 0)
            made[_IDENTIFIER].append((label, name, profile, 0, now))
            made[_LINK_ENTRY].append((next(self._sequences), now, *_BY, kind, profile, label, name, flag, 0))
        for _ in range(anonymous_ids):
            loser, name = self._profile_id(), f"id-{next(self._ids):08}"
            made[_IDENTIFIER].append(("", name, loser, 1, now))
            made[_LINK_ENTRY].append((next(self._sequences), now, *_BY, "created", loser, "", name, 0, 1))
            merge = next(self._sequences)
            made[_MERGE_ENTRY].append((merge, now, *_BY, profile, loser))
            made[_TOMBSTONE].append((loser, profile, merge, now))

    def _profile_id(self) -> bytearray:
        """Return a UUIDv7 of now."""
        random = self._random.getrandbits(74)
        fields = self._now // 1000 << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & (1 << 62) - 1
        return bytearray(fields.to_bytes(16))


def generate(file: Path, identifiers: int, seed: int = 0) -> None:
    """Make a database with so many identifiers, every id of them of an identified profile.

    CannotOpen where something is there already.
    """
    if file.exists():
        raise CannotOpen(f"{file} is there already")
    random = Random(seed)
    shapes = _draw(random, identifiers)
    ids = list(range(sum(shape.ids + shape.anonymous_ids for shape in shapes)))
    random.shuffle(ids)
    people = _People(random, iter(ids))
    owner = own(str(file))
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            migrate(connection)
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA cache_size = -1000000")
            connection.execute("BEGIN")
            connection.execute(_WORKSPACE, (WORKSPACE, _BEGAN))
            for start in range(0, len(shapes), _AT_ONCE):
                for statement, rows in people.rows(shapes[start : start + _AT_ONCE]).items():
                    connection.executemany(statement, rows)
            connection.execute("COMMIT")
    finally:
        if owner is not None:
            owner.release()


def count_ids(file: Path) -> int:
    """Return how many ids were generated, whatever came after them."""
    query = "SELECT count(*) FROM identifiers WHERE workspace = 1 AND label = '' AND name GLOB 'id-????????'"
    with closing(sqlite3.connect(file)) as connection:
        (ids,) = connection.execute(query).fetchone()
    return int(ids)


def _draw(random: Random, identifiers: int) -> list[Shape]:
    """Return shapes of people who have so many identifiers together."""
    often = [shape for shape, share in _SHAPES.items() for _ in range(share)]
    drawn = []
    left = identifiers
    while left:
        shape = random.choice(often)
        if shape.size > left:
            shape = Shape(left)
        drawn.append(shape)
        left -= shape.size
    return drawn


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description="Make a database of aka's.")
    parser.add_argument("file", type=Path, help="the SQLite file, which is not there yet")
    parser.add_argument("identifiers", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="others make other rows (default: 0)")
    arguments = parser.parse_args()
    try:
        generate(arguments.file, arguments.identifiers, arguments.seed)
    except (CannotOpen, OSError, sqlite3.Error) as error:
        sys.exit(f"generate: {error}")
    ids = count_ids(arguments.file)
    print(f"{arguments.file}: {arguments.identifiers:,} identifiers, {ids:,} of them ids from id-00000000 on")


if __name__ == "__main__":
    main()
