"""The tables of a SQLite file, made and brought up to date by numbered migrations."""

import contextlib
import sqlite3
from importlib.resources import files
from pathlib import Path

from aka.server.store.sqlite_file import MEMORY, CannotOpen, own, roll_back

Migration = tuple[int, str, str]
"""Number, name and SQL."""


def migrations() -> list[Migration]:
    """Return all migrations that this aka knows, in order."""
    found = []
    for file in files(__package__).joinpath("migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        found.append((int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


def pending(connection: sqlite3.Connection) -> list[Migration]:
    """Return what `migrate` would apply; CannotOpen where the database is newer than this aka, or not aka's."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if tables and "migrations" not in tables:
        raise CannotOpen("the database holds tables that are not aka's; name another file")
    applied = {number for (number,) in connection.execute("SELECT number FROM migrations")} if tables else set()
    known = migrations()
    unknown = applied - {number for number, _, _ in known}
    if unknown:
        raise CannotOpen(
            f"the database is from a newer aka (migration {max(unknown)}; this one knows up to {known[-1][0]});"
            " use that aka, or a backup from before the upgrade"
        )
    return [migration for migration in known if migration[0] not in applied]


def migrate(connection: sqlite3.Connection) -> list[Migration]:
    """Apply what is pending, each in a transaction of its own, and return it. The caller owns the file."""
    todo = pending(connection)
    for number, name, sql in todo:
        try:
            connection.executescript(
                "BEGIN IMMEDIATE;"
                "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL,"
                " applied_at INTEGER NOT NULL) STRICT;"
                f"{sql};"
                f"INSERT INTO migrations VALUES ({number}, '{name}', strftime('%s', 'now') * 1000000);"
                "COMMIT;"
            )
        except sqlite3.Error:
            roll_back(connection)
            raise
    return todo


def migrate_file(path: str, *, apply: bool) -> list[Migration]:
    """Return the migrations that a file lacks, having applied them if asked to; CannotOpen where that cannot be."""
    if path == MEMORY or not (apply or Path(path).exists()):
        return migrations()
    owner = own(path)
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            return migrate(connection) if apply else pending(connection)
    except sqlite3.Error as error:
        raise CannotOpen(f"{path} cannot be opened: {error}") from error
    finally:
        if owner is not None:
            owner.release()
