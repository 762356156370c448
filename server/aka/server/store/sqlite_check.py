"""The integrity check of a SQLite file: its rows against each other, and against what the journal adds up to."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aka.server.domain.graph import Link
from aka.server.domain.identifiers import Identifier, ProfileId, uuid_text
from aka.server.domain.journal import Counts, History, Record
from aka.server.store.sqlite_changes import read_journal
from aka.server.store.sqlite_file import MEMORY, CannotOpen, own
from aka.server.store.sqlite_migrations import pending
from aka.server.store.store import Workspace

SHOWN: Final = 20
"""Faults of one kind that are listed; the rest are counted."""

_PROFILE_FAULTS: Final = {
    "its survivor is no living profile": """
        SELECT p.workspace, p.id FROM profiles p
        LEFT JOIN profiles s ON s.workspace = p.workspace AND s.id = p.survivor
        WHERE s.survivor IS NOT p.survivor
    """,
    "it is neither living nor a tombstone": """
        SELECT workspace, id FROM profiles
        WHERE (parent IS NULL) <> (survivor = id) OR (parent IS NULL) <> (merged_by IS NULL)
    """,
    "no merge in the journal made it a tombstone": """
        SELECT p.workspace, p.id FROM profiles p
        LEFT JOIN journal j ON j.workspace = p.workspace AND j.sequence = p.merged_by
        WHERE p.merged_by IS NOT NULL AND (j.kind IS NOT 'merged' OR j.other <> p.id OR j.profile <> p.parent)
    """,
    "it is a tombstone with a primary id or counters": """
        SELECT workspace, id FROM profiles
        WHERE parent IS NOT NULL AND (primary_id IS NOT NULL OR identifiers + user_aliases + tombstones > 0)
    """,
    "its primary id is not on it, or is marked anonymous": """
        SELECT p.workspace, p.id FROM profiles p
        LEFT JOIN identifiers i ON i.workspace = p.workspace AND i.label = '' AND i.name = p.primary_id
        LEFT JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
        WHERE p.primary_id IS NOT NULL AND (o.survivor IS NOT p.id OR i.anonymous)
    """,
    "it has two names under one label": """
        SELECT o.workspace, o.survivor FROM identifiers i
        JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
        WHERE i.label > '' GROUP BY o.workspace, o.survivor, i.label HAVING count(*) > 1
    """,
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    summary: str
    faults: list[str]
    """One line each; empty where all is well."""


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
            faults += _shown(kind)
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
    history = History()
    for place, (sequence, at, change) in enumerate(read_journal(connection, workspace), 1):
        if sequence != place:
            yield f"journal {place}: it is not stored"
            return
        try:
            history.apply(change, at)
        except ValueError:
            yield f"journal {sequence}: it does not fit what the entries before it add up to"
            return
    survivors, counts = history.survivors(), history.counts()
    for profile, survivor, record, counted in _stored_profiles(connection, workspace):
        told = history.profiles.pop(profile, None)
        name = f"profile {uuid_text(profile)}"
        if told is None:
            yield f"{name}: the journal knows nothing of it"
            continue
        if survivors[profile] != survivor:
            yield f"{name}: the journal makes {uuid_text(survivors[profile])} its survivor, not {uuid_text(survivor)}"
        if told != record:
            yield f"{name}: the journal tells of it as {told}, stored is {record}"
        if counts[profile] != counted:
            yield f"{name}: it has {counts[profile]}, stored is {counted}"
    for profile in history.profiles:
        yield f"profile {uuid_text(profile)}: it is in the journal and not stored"
    for identifier, link in _stored_identifiers(connection, workspace):
        if history.links.pop(identifier, None) != link:
            yield f"identifier {tuple(identifier)}: the journal tells of it otherwise"
    for identifier in history.links:
        yield f"identifier {tuple(identifier)}: it is in the journal and not stored"


def _stored_profiles(
    connection: sqlite3.Connection, workspace: Workspace
) -> Iterator[tuple[ProfileId, ProfileId, Record, Counts]]:
    for profile, survivor, primary, created, updated, parent, orphaned, *counts in connection.execute(
        "SELECT id, survivor, primary_id, created_at, updated_at, parent, orphaned, identifiers, user_aliases,"
        " tombstones FROM profiles WHERE workspace = ?",
        (workspace,),
    ):
        yield profile, survivor, Record(primary, created, updated, parent, bool(orphaned)), Counts(*counts)


def _stored_identifiers(connection: sqlite3.Connection, workspace: Workspace) -> Iterator[tuple[Identifier, Link]]:
    for label, name, origin, anonymous, linked_at in connection.execute(
        "SELECT label, name, origin, anonymous, linked_at FROM identifiers WHERE workspace = ?", (workspace,)
    ):
        yield Identifier(label, name), Link(origin, bool(anonymous), linked_at)


def _shown(faults: Iterable[str]) -> Iterator[str]:
    """Return the first faults of a kind, and how many there are beyond them."""
    faults = iter(faults)
    yield from islice(faults, SHOWN)
    if more := sum(1 for _ in faults):
        yield f"... and {more} more like these"
