"""The statements that load a part of the identity graph from SQLite, and write what was decided over it.

A group is loaded and written in a number of statements that does not grow with it, plus two a merge. SQLite has no
array parameters, so keys come as JSON, profile ids (which JSON cannot hold) as one run of bytes cut in pieces of 16,
and rows are inserted in chunks of powers of two, so that few statements serve all sizes and each runs in one piece.

Python's sqlite3 binds exact int, str and bytearray as they are, but asks its adapters about every bytes, None and
bool, at 1 µs each: hence the bytearrays and the few columns of the statements that insert many rows.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged, Unlinked
from aka.server.domain.graph import Graph, Link, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.store.deciding import Decided
from aka.server.store.store import Caller, Kept, ProfilePage, Workspace

_HEADER: Final = "s.id, s.primary_id, s.identifiers, s.user_aliases, s.tombstones, s.created_at, s.updated_at"
_LINK: Final = "i.label, i.name, i.origin, i.anonymous, i.linked_at"
_SURVIVOR: Final = """
    CROSS JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
    CROSS JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor
"""
_WANTED: Final = "(SELECT substr(?2, 1 + 16 * value, 16) AS id FROM json_each(?3)) w"

# CROSS JOIN keeps SQLite to the order as written: from the keys to the rows. INDEXED BY keeps it to the index where it
# would rather walk all of a workspace's rows: without statistics it takes a workspace for ten rows.
_ONE: Final = f"""
    SELECT {_LINK}, {_HEADER} FROM identifiers i {_SURVIVOR} WHERE i.workspace = ?1 AND i.label = ?2 AND i.name = ?3
"""
_IDS: Final = f"""
    SELECT {_LINK}, {_HEADER} FROM json_each(?2) j
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = '' AND i.name = j.value {_SURVIVOR}
"""
_USER_ALIASES: Final = f"""
    SELECT {_LINK}, {_HEADER} FROM json_each(?2) j
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = json_extract(j.value, '$[0]')
        AND i.name = json_extract(j.value, '$[1]') {_SURVIVOR}
"""
_PROFILES: Final = f"""
    SELECT o.id, {_HEADER} FROM {_WANTED}
    CROSS JOIN profiles o ON o.workspace = ?1 AND o.id = w.id
    CROSS JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor
"""
_LABELS: Final = f"""
    SELECT w.id, i.label, i.name FROM {_WANTED}
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.origin = w.id AND i.label > ''
    UNION ALL
    SELECT w.id, i.label, i.name FROM {_WANTED}
    CROSS JOIN profiles t INDEXED BY tombstones_by_survivor
        ON t.workspace = ?1 AND t.survivor = w.id AND t.parent IS NOT NULL
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.origin = t.id AND i.label > ''
"""
_PAGE: Final = f"""
    SELECT {_LINK} FROM identifiers i
    WHERE i.workspace = ?1 AND i.origin = ?2 AND (i.label, i.name) > (?3, ?4)
    UNION ALL
    SELECT {_LINK} FROM profiles t INDEXED BY tombstones_by_survivor
    CROSS JOIN identifiers i INDEXED BY identifiers_by_origin ON i.workspace = t.workspace AND i.origin = t.id
    WHERE t.workspace = ?1 AND t.survivor = ?2 AND t.parent IS NOT NULL AND (i.label, i.name) > (?3, ?4)
    ORDER BY 1, 2 LIMIT ?5
"""
_TOMBSTONES: Final = """
    SELECT id FROM profiles WHERE workspace = ?1 AND survivor = ?2 AND parent IS NOT NULL
    ORDER BY merged_by DESC LIMIT 100
"""

Row = tuple[Any, ...]

FEW: Final = 3
"""Up to this many ids are looked up one by one, which is as good as a join and prepares less."""


def load(
    connection: sqlite3.Connection,
    workspace: Workspace,
    keys: Collection[Key],
    now: int,
    new_profile_id: Callable[[], ProfileId],
) -> Graph:
    """Return the part of the graph that the keys reach."""
    graph = Graph(now, new_profile_id)
    ids: list[str] = []
    user_aliases: list[tuple[str, str]] = []
    profile_ids: list[ProfileId] = []
    for key in keys:
        if not isinstance(key, Identifier):
            profile_ids.append(key)
        elif key.is_id:
            ids.append(key.name)
        else:
            user_aliases.append((key.label, key.name))
    rows: list[Any] = []
    if 0 < len(ids) <= FEW:
        for name in ids:
            rows += connection.execute(_ONE, (workspace, "", name))
    elif ids:
        rows += connection.execute(_IDS, (workspace, _json(ids)))
    if user_aliases:
        rows += connection.execute(_USER_ALIASES, (workspace, _json(user_aliases)))
    for label, name, origin, anonymous, linked_at, *header in rows:
        graph.add_link(Identifier(label, name), Link(origin, bool(anonymous), linked_at), Profile(*header))
    if profile_ids:
        for profile_id, *header in connection.execute(_PROFILES, (workspace, *_wanted(profile_ids))):
            graph.add_profile(profile_id, Profile(*header))
    graph.add_free(keys)
    return graph


def load_labels(
    connection: sqlite3.Connection, workspace: Workspace, graph: Graph, profile_ids: Collection[ProfileId]
) -> None:
    """Add the labels of living profiles to the graph."""
    parts = {part: profile for profile in profile_ids for part in graph.parts(profile)}
    found: dict[ProfileId, list[Identifier]] = {profile: [] for profile in profile_ids}
    for part, label, name in connection.execute(_LABELS, (workspace, *_wanted(list(parts)))):
        found[parts[part]].append(Identifier(label, name))
    for profile, user_aliases in found.items():
        graph.add_labels(profile, user_aliases)


def load_page(
    connection: sqlite3.Connection, workspace: Workspace, key: Key, after: Identifier | None, limit: int
) -> ProfilePage | None:
    """Return a profile and a page of its identifiers."""
    profile = load(connection, workspace, [key], 0, lambda: ProfileId(b"")).find(key)
    if profile is None:
        return None
    position = after or Identifier("", "")
    rows = connection.execute(_PAGE, (workspace, profile.id, *position, limit + 1)).fetchall()
    return ProfilePage(
        profile,
        [
            (Identifier(label, name), Link(origin, bool(anonymous), linked_at))
            for label, name, origin, anonymous, linked_at in rows[:limit]
        ],
        len(rows) > limit,
        [tombstone for (tombstone,) in connection.execute(_TOMBSTONES, (workspace, profile.id))],
    )


def load_kept(
    connection: sqlite3.Connection, workspace: Workspace, request_ids: Iterable[bytes], since: int
) -> dict[bytes, Kept]:
    """Return the answers that the request ids got since a time."""
    kept = {}
    for request_id in request_ids:
        row = connection.execute(
            "SELECT method, fingerprint, answer FROM answers WHERE workspace = ? AND request_id = ? AND at > ?",
            (workspace, request_id, since),
        ).fetchone()
        if row is not None:
            kept[request_id] = Kept(*row)
    return kept


def write(connection: sqlite3.Connection, workspace: Workspace, graph: Graph, decided: Decided) -> None:
    """Write what was folded into the graph, the journal of it, and the answers to keep.

    The order matters inside a group, where a later decision can take back or build upon what an earlier one did:
    rows that change go first, then profiles, then the pointers of merges, then identifiers, which point at profiles.
    """
    if decided.journal:
        profiles: dict[ProfileId, None] = {}
        identifiers: dict[Identifier, None] = {}
        rewritten: dict[Identifier, None] = {}
        lost: dict[ProfileId, int] = {}
        for change in graph.changes:
            if isinstance(change, Merged):
                profiles[change.survivor] = None
                lost[change.loser] = change.loser_created_at
                continue
            profiles[change.profile] = None
            identifiers[change.identifier] = None
            if isinstance(change, Unlinked | Identified):
                rewritten[change.identifier] = None
        if rewritten:
            connection.executemany(
                "DELETE FROM identifiers WHERE workspace = ? AND label = ? AND name = ?",
                [(workspace, *identifier) for identifier in rewritten],
            )
        _insert(connection, _PROFILE, [_profile_row(workspace, graph, profile, lost) for profile in profiles])
        last = _last_sequence(connection, workspace)
        for sequence, change in enumerate(graph.changes, last + 1):
            if isinstance(change, Merged):
                _point(connection, workspace, change, sequence, graph.now)
        rows = [_identifier_row(workspace, key, link) for key in identifiers if (link := graph.link_of(key))]
        _insert(connection, _IDENTIFIER, rows)
        _write_journal(connection, workspace, last, graph.now, decided.journal)
    for once, answer in decided.keep:
        connection.execute(
            "INSERT OR REPLACE INTO answers (workspace, request_id, method, fingerprint, answer, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (workspace, once.request_id, once.method, once.fingerprint, answer, graph.now),
        )


def forget_answers(connection: sqlite3.Connection, before: int) -> None:
    """Delete some answers that were kept long enough."""
    connection.execute(
        "DELETE FROM answers WHERE at <="
        " coalesce((SELECT at FROM answers WHERE at <= ?1 ORDER BY at LIMIT 1 OFFSET 999), ?1)",
        (before,),
    )


def _write_journal(
    connection: sqlite3.Connection, workspace: Workspace, last: int, now: int, entries: Iterable[tuple[Caller, Change]]
) -> None:
    """Number the changes after `last` and write them; the schema says which columns a kind uses."""
    links: list[Row] = []
    others: list[Row] = []
    for sequence, (by, change) in enumerate(entries, last + 1):
        row = workspace, sequence, now, bytearray(by.api_key), by.request
        match change:
            case Created(profile, (label, name), primary, anonymous):
                links.append((*row, "created", bytearray(profile), label, name, int(primary), int(anonymous)))
            case Linked(profile, (label, name), anonymous):
                links.append((*row, "linked", bytearray(profile), label, name, 0, int(anonymous)))
            case Unlinked(profile, (label, name), origin, anonymous, linked_at):
                others.append((*row, "unlinked", profile, label, name, 0, anonymous, origin, linked_at, None, None))
            case Identified(profile, (label, name), anonymous):
                others.append((*row, "identified", profile, label, name, 0, anonymous, None, None, None, None))
            case Merged(loser, survivor, primary_id, loser_created_at, created_at, orphaned):
                times = None, created_at, loser_created_at
                others.append((*row, "merged", survivor, "", primary_id, orphaned, 0, loser, *times))
    _insert(connection, _LINK_ENTRY, links)
    _insert(connection, _OTHER_ENTRY, others)


def read_journal(connection: sqlite3.Connection, workspace: Workspace) -> Iterator[tuple[int, int, Change]]:
    """Return the journal's changes in order, each with its sequence and time."""
    for row in connection.execute(
        "SELECT sequence, at, kind, profile, other, label, name, flag, anonymous, linked_at, created_at,"
        " other_created_at FROM journal WHERE workspace = ? ORDER BY sequence",
        (workspace,),
    ):
        yield row[0], row[1], _change(*row[2:])


def _change(
    kind: str,
    profile: ProfileId,
    other: ProfileId,
    label: str,
    name: str,
    flag: int,
    anonymous: int,
    linked_at: int,
    created_at: int,
    other_created_at: int,
) -> Change:
    match kind:
        case "created":
            return Created(profile, Identifier(label, name), bool(flag), bool(anonymous))
        case "linked":
            return Linked(profile, Identifier(label, name), bool(anonymous))
        case "unlinked":
            return Unlinked(profile, Identifier(label, name), other, bool(anonymous), linked_at)
        case "identified":
            return Identified(profile, Identifier(label, name), bool(anonymous))
        case _:
            return Merged(other, profile, name, other_created_at, created_at, bool(flag))


def _profile_row(workspace: Workspace, graph: Graph, profile_id: ProfileId, lost: dict[ProfileId, int]) -> Row:
    header = graph.living(profile_id) or Profile(profile_id, None, 0, 0, 0, lost[profile_id], graph.now)
    _, primary, identifiers, user_aliases, tombstones, created_at, updated_at = header
    stored = bytearray(profile_id)
    return workspace, stored, stored, primary or "", identifiers, user_aliases, tombstones, created_at, updated_at


def _identifier_row(workspace: Workspace, identifier: Identifier, link: Link) -> Row:
    label, name = identifier
    return workspace, label, name, bytearray(link.origin), int(link.anonymous), link.linked_at


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


def _last_sequence(connection: sqlite3.Connection, workspace: Workspace) -> int:
    (last,) = connection.execute("SELECT max(sequence) FROM journal WHERE workspace = ?", (workspace,)).fetchone()
    return last or 0


class _Insert(NamedTuple):
    """A statement that inserts any number of rows."""

    head: str
    row: str
    tail: str = ""

    def of(self, rows: int) -> str:
        return f"{self.head} VALUES {', '.join([self.row] * rows)} {self.tail}"


_PROFILE: Final = _Insert(
    "INSERT INTO profiles (workspace, id, survivor, primary_id, identifiers, user_aliases, tombstones, created_at,"
    " updated_at)",
    "(?, ?, ?, nullif(?, ''), ?, ?, ?, ?, ?)",
    "ON CONFLICT (workspace, id) DO UPDATE SET primary_id = excluded.primary_id, identifiers = excluded.identifiers,"
    " user_aliases = excluded.user_aliases, tombstones = excluded.tombstones, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at",
)
_IDENTIFIER: Final = _Insert(
    "INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at)", "(?, ?, ?, ?, ?, ?)"
)
_ENTRY: Final = (
    "INSERT INTO journal (workspace, sequence, at, api_key, request, kind, profile, label, name, flag, anonymous"
)
_LINK_ENTRY: Final = _Insert(_ENTRY + ")", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
_OTHER_ENTRY: Final = _Insert(
    _ENTRY + ", other, linked_at, created_at, other_created_at)", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHUNK: Final = 64


def _insert(connection: sqlite3.Connection, into: _Insert, rows: Sequence[Row]) -> None:
    start, size = 0, CHUNK
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        connection.execute(_statement(into, size), list(chain.from_iterable(rows[start : start + size])))
        start += size


@cache
def _statement(into: _Insert, rows: int) -> str:
    return into.of(rows)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _wanted(profile_ids: Sequence[ProfileId]) -> tuple[bytes, str]:
    return b"".join(profile_ids), _json(list(range(len(profile_ids))))
