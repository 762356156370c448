"""Raw sqlite3: the rows that aka writes, in aka's tables, by a loop with nothing around it.

The same schema, from aka's own migrations, on a file beside aka's, under the same settings: WAL, synchronous=FULL,
foreign keys checked. Rows are made before a transaction and only the transaction is timed, from BEGIN to COMMIT. They
hold bytearrays and no None, which Python's sqlite3 binds faster than bytes and None.
"""

import csv
import math
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import uuid_utils

from aka.server.store.sqlite_migrations import migrate
from benchmarks import data, links

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
"""What a transaction inserts, by table, in the order in which it can be inserted."""

_PROFILES: Final = (
    "INSERT INTO profiles (workspace, id, survivor, primary_id, identifiers, user_aliases, tombstones, created_at,"
    " updated_at) VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?, ?, ?)"
)
_IDENTIFIERS: Final = (
    "INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_JOURNAL: Final = (
    "INSERT INTO journal (workspace, sequence, at, api_key, request, kind, profile, label, name, flag, anonymous)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ACTIVITIES: Final = (
    "INSERT INTO activities (workspace, origin, number, kind, at, name, details) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

_LINKS: Final = (
    "SELECT hex(s.id), s.primary_id, i.name, i.label, i.anonymous, i.linked_at FROM identifiers i"
    " JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin"
    " JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor ORDER BY i.workspace, i.label, i.name"
)

_WORKSPACE: Final = 1
_KEY: Final = bytearray(uuid_utils.uuid7().bytes)


class RawDatabase:
    """A database of aka's tables and a connection to it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._calls = count()
        self._sequences = count(1)
        self._profiles: list[bytearray] = []
        self._events: list[int] = []
        """How many events each of these has."""

    def alias(self, seconds: float, most: int) -> float:
        """Write what an Alias of two new ids writes, one a transaction, and return the transactions a second."""
        return self._time(self._alias_rows, seconds, most)

    def create_aliases(self, items: int, seconds: float, most: int) -> float:
        """Write what a CreateAliases of `items` new user aliases writes, and return the transactions a second."""
        return self._time(lambda: self._create_aliases_rows(items), seconds, most)

    def track(self, events: int, seconds: float, most: int) -> float:
        """Write what a Track of events writes, each of a random profile, and return the transactions a second."""
        return self._time(lambda: self._event_rows(events), seconds, most)

    def add_profiles(self, number: int) -> None:
        """Make profiles for `track`, with two ids each."""
        made = [self._alias_rows() for _ in range(number)]
        self._connection.execute("BEGIN IMMEDIATE")
        for rows in made:
            for statement, values in rows.items():
                self._connection.executemany(statement, values)
            self._profiles += (profile[1] for profile in rows[_PROFILES])
        self._connection.execute("COMMIT")
        self._events = [0] * len(self._profiles)

    def import_links(self, lines: int, at_once: int) -> float:
        """Write what an import of `links.write` writes, so many lines a transaction, and return the lines a second."""
        return self._time(lambda: self._link_rows(at_once), math.inf, lines // at_once) * at_once

    def export_links(self, file: Path) -> float:
        """Write all links into a CSV file, and return the seconds that it took."""
        began = time.perf_counter()
        with file.open("w", newline="") as out:
            csv.writer(out).writerows(self._connection.execute(_LINKS))
        return time.perf_counter() - began

    def _time(self, rows: Callable[[], Rows], seconds: float, most: int) -> float:
        spent, done = 0.0, 0
        while spent < seconds and done < most:
            made = rows()
            began = time.perf_counter()
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, values in made.items():
                self._connection.executemany(statement, values)
            self._connection.execute("COMMIT")
            spent += time.perf_counter() - began
            done += 1
        return done / spent

    def _alias_rows(self) -> Rows:
        number, now, profile = next(self._calls), time.time_ns() // 1000, _new_profile_id()
        user, alias = f"user-{number:08}", f"alias-{number:08}"
        entry = (now, _KEY, str(uuid_utils.uuid4()))
        return {
            _PROFILES: [(_WORKSPACE, profile, profile, user, 2, 0, 0, now, now)],
            _IDENTIFIERS: [(_WORKSPACE, "", name, profile, 0, now) for name in (user, alias)],
            _JOURNAL: [
                (_WORKSPACE, next(self._sequences), *entry, "created", profile, "", user, 1, 0),
                (_WORKSPACE, next(self._sequences), *entry, "linked", profile, "", alias, 0, 0),
            ],
        }

    def _event_rows(self, events: int) -> Rows:
        now = time.time_ns() // 1000
        rows: list[Row] = []
        for place in random.choices(range(len(self._profiles)), k=events):
            self._events[place] += 1
            profile, number = self._profiles[place], self._events[place]
            rows.append((_WORKSPACE, profile, number, "event", now, data.EVENT, data.PROPERTIES_JSON))
        return {_ACTIVITIES: rows}

    def _link_rows(self, lines: int) -> Rows:
        start, now = next(self._calls) * lines, time.time_ns() // 1000
        entry = (now, _KEY, str(uuid_utils.uuid4()))
        rows: Rows = {_PROFILES: [], _IDENTIFIERS: [], _JOURNAL: []}
        for number in range(start, start + lines, 2):
            profile, user = _new_profile_id(), links.user(number)
            aliases = links.alias(number), links.alias(number + 1)
            rows[_PROFILES].append((_WORKSPACE, profile, profile, user, 3, 0, 0, now, now))
            rows[_IDENTIFIERS] += ((_WORKSPACE, "", name, profile, 0, now) for name in (user, *aliases))
            rows[_JOURNAL].append((_WORKSPACE, next(self._sequences), *entry, "created", profile, "", user, 1, 0))
            rows[_JOURNAL] += (
                (_WORKSPACE, next(self._sequences), *entry, "linked", profile, "", alias, 0, 0) for alias in aliases
            )
        return rows

    def _create_aliases_rows(self, items: int) -> Rows:
        number, now = next(self._calls), time.time_ns() // 1000
        entry = (now, _KEY, str(uuid_utils.uuid4()))
        made = [(_new_profile_id(), f"name-{number * items + item:08}") for item in range(items)]
        return {
            _PROFILES: [(_WORKSPACE, profile, profile, "", 1, 1, 0, now, now) for profile, _ in made],
            _IDENTIFIERS: [(_WORKSPACE, "crm", name, profile, 0, now) for profile, name in made],
            _JOURNAL: [
                (_WORKSPACE, next(self._sequences), *entry, "created", profile, "crm", name, 0, 0)
                for profile, name in made
            ],
        }


def _new_profile_id() -> bytearray:
    return bytearray(uuid_utils.uuid7().bytes)


@contextmanager
def raw_database(path: Path) -> Iterator[RawDatabase]:
    """Make a database of aka's tables."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("INSERT INTO workspaces (id, name, created_at) VALUES (?, 'default', 0)", (_WORKSPACE,))
        yield RawDatabase(connection)
