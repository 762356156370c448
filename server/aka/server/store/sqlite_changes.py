"""The statements that write into SQLite what was decided over a part of the identity graph; and read its journal.

A group is written in a number of statements that does not grow with it, plus two a merge: rows are inserted up to
`CHUNK` at a time. Python's sqlite3 binds exact int, str and bytearray as they are, but asks its adapters about every
bytes, None and bool, at 1 µs each: hence the bytearrays, and the few columns of the statements that insert many rows.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged, Unlinked
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, ProfileId
from aka.server.store.deciding import Decided
from aka.server.store.journal_rows import COLUMNS, change_of, values_of
from aka.server.store.sqlite_data import write_data
from aka.server.store.store import Caller, Workspace

FORGOTTEN_AT_ONCE: Final = 1000
"""Answers that are deleted in one group, at least: more than a group keeps, so that they never grow more."""


def write(connection: sqlite3.Connection, workspace: Workspace, graph: Graph, decided: Decided) -> None:
    """Write what was folded into the graph, the journal of it, and the answers to keep."""
    if graph.changes:
        last = _last_sequence(connection, workspace)
        links, others = _journal_values(decided.journal, last)
        _LINK_ENTRY.insert(connection, workspace, graph.now, links)
        _OTHER_ENTRY.insert(connection, workspace, graph.now, others)
        if len(graph.made) == len(graph.changes):  # so that each made a profile
            connection.execute(_MADE, (workspace, last))
            connection.execute(_LINKED, (workspace, last))
        else:
            _write_changed(connection, workspace, graph, last)
    if graph.tracked:
        write_data(connection, workspace, graph)
    answers: list[Any] = []
    for once, answer in decided.keep:
        answers += (bytearray(once.request_id), once.method, bytearray(once.fingerprint), bytearray(answer))
    _ANSWER.insert(connection, workspace, graph.now, answers)


def _write_changed(connection: sqlite3.Connection, workspace: Workspace, graph: Graph, last: int) -> None:
    """Write the rows of profiles and identifiers, whose changes the journal has after `last`.

    The order matters inside a group, where a later decision can take back or build upon what an earlier one did:
    rows that change go first, then profiles, then the pointers of merges, then identifiers, which point at profiles.
    """
    profiles: dict[ProfileId, None] = {}
    rewritten: dict[Identifier, None] = {}
    linked: dict[Identifier, None] = {}
    merges: list[tuple[int, Merged]] = []
    for sequence, change in enumerate(graph.changes, last + 1):
        if isinstance(change, Merged):
            profiles[change.survivor] = None
            merges.append((sequence, change))
            continue
        profiles[change.profile] = None
        linked[change.identifier] = None
        if isinstance(change, Unlinked | Identified):
            rewritten[change.identifier] = None
    if rewritten:
        connection.executemany(
            "DELETE FROM identifiers WHERE workspace = ? AND label = ? AND name = ?",
            [(workspace, *identifier) for identifier in rewritten],
        )
    _PROFILE.insert(connection, workspace, graph.now, _profile_values(graph, profiles, merges))
    for sequence, merged in merges:
        _point(connection, workspace, merged, sequence, graph.now)
    if rewritten:
        _IDENTIFIER.insert(connection, workspace, graph.now, _identifier_values(graph, linked))
    else:
        connection.execute(_LINKED, (workspace, last))


def forget_answers(connection: sqlite3.Connection, before: int) -> bool:
    """Delete some answers that were kept long enough, and say whether there may be more."""
    deleted = connection.execute(
        "DELETE FROM answers WHERE at <="
        " coalesce((SELECT at FROM answers WHERE at <= ?1 ORDER BY at LIMIT 1 OFFSET ?2), ?1)",
        (before, FORGOTTEN_AT_ONCE - 1),
    )
    return deleted.rowcount >= FORGOTTEN_AT_ONCE


def read_journal(connection: sqlite3.Connection, workspace: Workspace) -> Iterator[tuple[int, int, Change]]:
    """Return the journal's changes in order, each with its sequence and time."""
    query = f"SELECT sequence, at, {COLUMNS} FROM journal WHERE workspace = ? ORDER BY sequence"
    for sequence, at, *values in connection.execute(query, (workspace,)):
        yield sequence, at, change_of(*values)


def _last_sequence(connection: sqlite3.Connection, workspace: Workspace) -> int:
    (last,) = connection.execute("SELECT max(sequence) FROM journal WHERE workspace = ?", (workspace,)).fetchone()
    return last or 0


def _point(connection: sqlite3.Connection, workspace: Workspace, merged: Merged, sequence: int, now: int) -> None:
    """Point the loser's tombstones, then the loser, at the survivor."""
    connection.execute(
        "UPDATE profiles INDEXED BY tombstones_by_survivor SET survivor = ?"
        " WHERE workspace = ? AND survivor = ? AND parent IS NOT NULL",
        (merged.survivor, workspace, merged.loser),
    )
    connection.execute(
        "UPDATE profiles SET survivor = ?1, parent = ?1, merged_by = ?2, orphaned = ?3, primary_id = NULL,"
        " identifiers = 0, user_aliases = 0, tombstones = 0, updated_at = ?4 WHERE workspace = ?5 AND id = ?6",
        (merged.survivor, sequence, merged.orphaned, now, workspace, merged.loser),
    )


class _Insert(NamedTuple):
    """A statement that inserts any number of rows. Their workspace and the group's time are bound once for all."""

    head: str
    row: str
    """`?1` is the workspace, `?2` the time, and `{0}`, `{1}` ... are the values of each row's own."""
    width: int
    """Values of each row's own."""
    tail: str = ""

    def insert(self, connection: sqlite3.Connection, workspace: Workspace, now: int, values: list[Any]) -> None:
        """Insert the rows whose values follow each other in `values`."""
        step = CHUNK * self.width
        for start in range(0, len(values), step):
            chunk = values[start : start + step]
            connection.execute(_statement(self, len(chunk) // self.width), [workspace, now, *chunk])


CHUNK: Final = 64


@cache
def _statement(into: _Insert, rows: int) -> str:
    numbers = [f"?{number}" for number in range(3, 3 + rows * into.width)]
    each = (into.row.format(*numbers[start : start + into.width]) for start in range(0, len(numbers), into.width))
    return f"{into.head} VALUES {', '.join(each)} {into.tail}"


_PROFILE: Final = _Insert(
    "INSERT INTO profiles (workspace, id, survivor, primary_id, identifiers, user_aliases, tombstones, created_at,"
    " updated_at)",
    "(?1, {0}, {0}, nullif({1}, ''), {2}, {3}, {4}, {5}, ?2)",
    6,
    "ON CONFLICT (workspace, id) DO UPDATE SET primary_id = excluded.primary_id, identifiers = excluded.identifiers,"
    " user_aliases = excluded.user_aliases, tombstones = excluded.tombstones, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at",
)
# Where nothing was there before, the rows are what the journal has just been given, and SQLite takes them from there.
_MADE: Final = """
    INSERT INTO profiles (workspace, id, survivor, primary_id, identifiers, user_aliases, tombstones, created_at,
        updated_at)
    SELECT workspace, profile, profile, iif(flag, name, NULL), 1, label > '', 0, at, at FROM journal
    WHERE workspace = ? AND sequence > ? AND kind = 'created'
"""
_LINKED: Final = """
    INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at)
    SELECT workspace, label, name, profile, anonymous, at FROM journal
    WHERE workspace = ? AND sequence > ? AND kind IN ('created', 'linked')
"""
_IDENTIFIER: Final = _Insert(
    "INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at)",
    "(?1, {0}, {1}, {2}, {3}, {4})",
    5,
)
_ENTRY: Final = (
    "INSERT INTO journal (workspace, at, sequence, api_key, request, kind, profile, label, name, flag, anonymous"
)
_LINK_ENTRY: Final = _Insert(_ENTRY + ")", "(?1, ?2, {0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8})", 9)
_OTHER_ENTRY: Final = _Insert(
    _ENTRY + ", other, linked_at, created_at, other_created_at)",
    "(?1, ?2, {0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}, {12})",
    13,
)


_ANSWER: Final = _Insert(
    "INSERT OR REPLACE INTO answers (workspace, at, request_id, method, fingerprint, answer)",
    "(?1, ?2, {0}, {1}, {2}, {3})",
    4,
)


def _profile_values(graph: Graph, profiles: Iterable[ProfileId], merges: Iterable[tuple[int, Merged]]) -> list[Any]:
    """Return the values of living profiles, and of those that a merge of this group is about to make tombstones."""
    lost = {merged.loser: merged.loser_created_at for _, merged in merges}
    values: list[Any] = []
    for profile_id in profiles:
        stored, living = bytearray(profile_id), graph.living(profile_id)
        if living is None:
            values += (stored, "", 0, 0, 0, lost[profile_id])
        else:
            _, primary, identifiers, user_aliases, tombstones, created_at, _ = living
            values += (stored, primary or "", identifiers, user_aliases, tombstones, created_at)
    return values


def _identifier_values(graph: Graph, identifiers: Iterable[Identifier]) -> list[Any]:
    values: list[Any] = []
    for identifier in identifiers:
        link = graph.link_of(identifier)
        if link is not None:
            origin, anonymous, linked_at = link
            values += (*identifier, bytearray(origin), 1 if anonymous else 0, linked_at)
    return values


def _journal_values(entries: Iterable[tuple[Caller, Sequence[Change]]], last: int) -> tuple[list[Any], list[Any]]:
    """Number the changes after `last` and return their values: the links', and the others', which have more columns.

    The schema says which columns a kind uses.
    """
    links: list[Any] = []
    others: list[Any] = []
    sequence = last
    for by, changes in entries:
        api_key, request = bytearray(by.api_key), by.request
        for change in changes:
            sequence += 1
            if isinstance(change, Created):
                profile, (label, name), primary, anonymous = change
                links += (sequence, api_key, request, "created", bytearray(profile), label, name)
                links += (1 if primary else 0, 1 if anonymous else 0)
            elif isinstance(change, Linked):
                profile, (label, name), anonymous = change
                links += (sequence, api_key, request, "linked", bytearray(profile), label, name)
                links += (0, 1 if anonymous else 0)
            else:
                others += (sequence, api_key, request, *values_of(change))
    return links, others
