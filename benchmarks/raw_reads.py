"""Raw sqlite3 that reads what aka wrote: from aka's own file, beside aka, by a loop of point selects."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

_WORKSPACE: Final = 1

# Like aka's, it looks up a survivor only where that is another.
_RESOLVE: Final = """
    SELECT o.survivor, CASE o.survivor WHEN o.id THEN o.primary_id
        ELSE (SELECT s.primary_id FROM profiles s WHERE s.workspace = o.workspace AND s.id = o.survivor) END
    FROM identifiers i JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
    WHERE i.workspace = ? AND i.label = '' AND i.name = ?
"""
_PROFILE: Final = """
    SELECT s.id, s.primary_id, s.identifiers, s.created_at, s.updated_at FROM identifiers i
    JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
    JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor
    WHERE i.workspace = ? AND i.label = '' AND i.name = ?
"""
# Without statistics SQLite would take the primary key, and walk all of a workspace.
_PARTS: Final = (
    "SELECT label, name, anonymous, linked_at FROM identifiers INDEXED BY identifiers_by_origin"
    " WHERE workspace = ? AND origin = ?",
    "SELECT id, parent, orphaned FROM profiles INDEXED BY tombstones_by_survivor"
    " WHERE workspace = ? AND survivor = ? AND parent IS NOT NULL",
    "SELECT name, value, at FROM attributes WHERE workspace = ? AND origin = ?",
    "SELECT app_id, token, device_id FROM push_tokens WHERE workspace = ? AND origin = ?",
    "SELECT number, kind, at, name, details FROM activities WHERE workspace = ? AND origin = ? ORDER BY at, number",
)
"""What a profile has beside its own row."""


class RawReader:
    """A connection to a database of aka's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def resolve(self, names: Sequence[str], at_once: int, seconds: float, most: int) -> float:
        """Look up random ones of ids, so many in a transaction, and return the transactions a second."""

        def look_up(name: str) -> bool:
            return self._connection.execute(_RESOLVE, (_WORKSPACE, name)).fetchone() is not None

        return self._time(look_up, names, at_once, seconds, most)

    def export_profiles(self, names: Sequence[str], at_once: int, seconds: float, most: int) -> float:
        """Read all that random profiles have, so many in a transaction, and return the transactions a second."""
        execute = self._connection.execute

        def look_up(name: str) -> bool:
            profile_id, *_ = execute(_PROFILE, (_WORKSPACE, name)).fetchone()
            return any([execute(part, (_WORKSPACE, profile_id)).fetchall() for part in _PARTS])

        return self._time(look_up, names, at_once, seconds, most)

    def _time(
        self, look_up: Callable[[str], bool], names: Sequence[str], at_once: int, seconds: float, most: int
    ) -> float:
        spent, done = 0.0, 0
        while spent < seconds and done < most:
            chosen = random.choices(names, k=at_once)
            began = time.perf_counter()
            self._connection.execute("BEGIN")
            found = [look_up(name) for name in chosen]
            self._connection.execute("COMMIT")
            spent += time.perf_counter() - began
            assert all(found), "they were made before"
            done += 1
        return done / spent


@contextmanager
def raw_reader(path: Path) -> Iterator[RawReader]:
    """Open a database that a server has, to read from it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = -16384")
        yield RawReader(connection)
