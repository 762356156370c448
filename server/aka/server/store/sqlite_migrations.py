"""The tables of a SQLite file, made and brought up to date by numbered migrations."""

import contextlib
import sqlite3
from pathlib import Path

from aka.server.store.schema import Migration, lacking, read_migrations, too_new
from aka.server.store.sqlite_file import MEMORY, own, roll_back
from aka.server.store.store import CannotOpen


def migrations() -> list[Migration]:
    """Return all migrations that this aka knows, in order."""
    return read_migrations("sqlite")


def pending(connection: sqlite3.Connection) -> list[Migration]:
    """Return what `migrate` would apply; CannotOpen where the database is newer than this aka, or not aka's."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if tables and "migrations" not in tables:
        raise CannotOpen("the database holds tables that are not aka's; name another file")
    applied = {number for (number,) in connection.execute("SELECT number FROM migrations")} if tables else set()
    known = migrations()
    unknown = applied - {number for number, _, _ in known}
    if unknown:
        raise too_new(max(unknown), known)
    return lacking(known, applied)


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
