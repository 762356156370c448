"""The integrity check of a SQLite file: its rows against each other, and against what the journal adds up to."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aka.server.domain.identifiers import uuid_text
from aka.server.store.audit import (
    IDENTIFIER_COLUMNS,
    PROFILE_COLUMNS,
    Audit,
    Report,
    profile_faults,
    shown,
)
from aka.server.store.sqlite_changes import read_journal
from aka.server.store.sqlite_file import MEMORY, own
from aka.server.store.sqlite_migrations import pending
from aka.server.store.store import CannotOpen, Workspace

_PROFILE_FAULTS: Final = profile_faults(differs="IS NOT")


def check_file(path: str) -> Report:
    """Check a file, beside the server that owns it or without one; CannotOpen where there is nothing to check.

    The journal's sum is held in memory: some hundred bytes an identifier and a profile.
    """
    if path == MEMORY or not Path(path).exists():
        raise CannotOpen(f"{path} cannot be checked: there is no such file")
    owner = None
    with contextlib.suppress(CannotOpen):  # where a server owns it, it is read beside that server
        owner = own(path)
    mode = "ro" if owner is None else "rw"
    try:
        uri = f"file:{quote(path)}?mode={mode}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # one snapshot for all that follows
            if pending(connection):
                raise CannotOpen(f"{path} cannot be checked: it lacks migrations; run `aka migrate` first")
            return check(connection)
    except sqlite3.DatabaseError as error:
        raise CannotOpen(f"{path} cannot be checked: {error}") from error
    finally:
        if owner is not None:
            owner.release()


def check(connection: sqlite3.Connection) -> Report:
    """Check what a connection reads, whose tables must be up to date."""
    faults: list[str] = []
    profiles = identifiers = 0
    try:
        (profiles,) = connection.execute("SELECT count(*) FROM profiles").fetchone()
        (identifiers,) = connection.execute("SELECT count(*) FROM identifiers").fetchone()
        for kind in _faults(connection):
            faults += shown(kind)
    except sqlite3.DatabaseError as error:
        faults.append(f"SQLite: {error}; what follows it was not checked")
    return Report(f"{profiles} profiles, {identifiers} identifiers", faults)


def _faults(connection: sqlite3.Connection) -> Iterator[Iterable[str]]:
    """Return the faults, each kind by itself."""
    yield _sqlite_faults(connection)
    for fault, query in _PROFILE_FAULTS.items():
        found = connection.execute(query)
        yield (f"workspace {workspace}, profile {uuid_text(profile)}: {fault}" for workspace, profile in found)
    for (workspace,) in connection.execute("SELECT id FROM workspaces").fetchall():
        yield (f"workspace {workspace}, {fault}" for fault in _journal_faults(connection, workspace))


def _sqlite_faults(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"SQLite: a row of {table} points at no row of {parent}"


def _journal_faults(connection: sqlite3.Connection, workspace: Workspace) -> Iterator[str]:
    """Compare every row with what the journal adds up to."""
    audit = Audit()
    for place, (sequence, at, change) in enumerate(read_journal(connection, workspace), 1):
        if sequence != place:
            yield f"journal {place}: it is not stored"
            return
        if not audit.adds_up(change, at):
            yield f"journal {sequence}: it does not fit what the entries before it add up to"
            return
    yield from audit.compare(
        connection.execute(f"SELECT {PROFILE_COLUMNS} FROM profiles WHERE workspace = ?", (workspace,)),
        connection.execute(f"SELECT {IDENTIFIER_COLUMNS} FROM identifiers WHERE workspace = ?", (workspace,)),
    )
