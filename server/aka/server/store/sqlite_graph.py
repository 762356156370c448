"""The statements that load a part of the identity graph from SQLite.

A group is loaded in a number of statements that does not grow with it. SQLite has no array parameters, so keys come as
JSON, and ids of 16 bytes (which JSON cannot hold) as one run of bytes cut in pieces of 16.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import msgspec

from aka.server.domain.graph import Graph, Link, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.store.store import Kept, ProfilePage, StoredLink, Workspace

_HEADER: Final = "s.id, s.primary_id, s.identifiers, s.user_aliases, s.tombstones, s.created_at, s.updated_at"
_LINK: Final = "i.label, i.name, i.origin, i.anonymous, i.linked_at"
_SURVIVOR: Final = """
    CROSS JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
    CROSS JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor
"""
USER_ALIASES: Final = "json_each(?2) l CROSS JOIN json_each(l.value) n"
"""User aliases that are bound as `by_label` writes them: a label is `l.key`, and `n.value` a name under it."""
WANTED: Final = "(SELECT substr(?2, 1 + 16 * value, 16) AS id FROM json_each(?3)) w"
"""Ids that are bound as `wanted` writes them."""

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
    SELECT {_LINK}, {_HEADER} FROM {USER_ALIASES}
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = l.key AND i.name = n.value {_SURVIVOR}
"""
_PROFILES: Final = f"""
    SELECT o.id, {_HEADER} FROM {WANTED}
    CROSS JOIN profiles o ON o.workspace = ?1 AND o.id = w.id
    CROSS JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor
"""
_LABELS: Final = f"""
    SELECT w.id, i.label, i.name FROM {WANTED}
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.origin = w.id AND i.label > ''
    UNION ALL
    SELECT w.id, i.label, i.name FROM {WANTED}
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
_KEPT: Final = f"""
    SELECT w.id, a.method, a.fingerprint, a.answer FROM {WANTED}
    CROSS JOIN answers a ON a.workspace = ?1 AND a.request_id = w.id AND a.at > ?4
"""
_LINKS: Final = f"""
    SELECT i.label, i.name, i.anonymous, i.linked_at, s.id, s.primary_id FROM identifiers i {_SURVIVOR}
    WHERE i.workspace = ?1 AND (i.label, i.name) > (?2, ?3) ORDER BY i.label, i.name LIMIT ?4
"""
_TOMBSTONES: Final = """
    SELECT id FROM profiles WHERE workspace = ?1 AND survivor = ?2 AND parent IS NOT NULL
    ORDER BY merged_by DESC LIMIT 100
"""

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
    user_aliases: list[Identifier] = []
    profile_ids: list[ProfileId] = []
    for key in keys:
        if not isinstance(key, Identifier):
            profile_ids.append(key)
        elif key.is_id:
            ids.append(key.name)
        else:
            user_aliases.append(key)
    rows: list[Any] = []
    if 0 < len(ids) <= FEW:
        for name in ids:
            rows += connection.execute(_ONE, (workspace, "", name))
    elif ids:
        rows += connection.execute(_IDS, (workspace, to_json(ids)))
    if user_aliases:
        rows += connection.execute(_USER_ALIASES, (workspace, by_label(user_aliases)))
    for label, name, origin, anonymous, linked_at, *header in rows:
        graph.add_link(Identifier(label, name), Link(origin, bool(anonymous), linked_at), Profile(*header))
    if profile_ids:
        for profile_id, *header in connection.execute(_PROFILES, (workspace, *wanted(profile_ids))):
            graph.add_profile(profile_id, Profile(*header))
    graph.add_free(keys)
    return graph


def load_labels(
    connection: sqlite3.Connection, workspace: Workspace, graph: Graph, profile_ids: Collection[ProfileId]
) -> None:
    """Add the labels of living profiles to the graph."""
    parts = {part: profile for profile in profile_ids for part in graph.parts(profile)}
    found: dict[ProfileId, list[Identifier]] = {profile: [] for profile in profile_ids}
    for part, label, name in connection.execute(_LABELS, (workspace, *wanted(list(parts)))):
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


def load_links(
    connection: sqlite3.Connection, workspace: Workspace, after: Identifier | None, limit: int
) -> list[StoredLink]:
    """Return links in the order of their identifiers."""
    rows = connection.execute(_LINKS, (workspace, *(after or ("", "")), limit))
    return [StoredLink(Identifier(label, name), bool(anonymous), *rest) for label, name, anonymous, *rest in rows]


def load_kept(
    connection: sqlite3.Connection, workspace: Workspace, request_ids: Sequence[bytes], since: int
) -> dict[bytes, Kept]:
    """Return the answers that the request ids got since a time."""
    if not request_ids:
        return {}
    rows = connection.execute(_KEPT, (workspace, *wanted(request_ids), since))
    return {request_id: Kept(*kept) for request_id, *kept in rows}


def by_label(user_aliases: Iterable[Identifier]) -> str:
    """Write user aliases for `USER_ALIASES`; a label is read once for all its names."""
    names: dict[str, list[str]] = {}
    for label, name in user_aliases:
        names.setdefault(label, []).append(name)
    return to_json(names)


def to_json(value: Any) -> str:
    """Write a value for json_each."""
    return msgspec.json.encode(value).decode()


def wanted(ids: Sequence[bytes]) -> tuple[bytes, str]:
    """Write ids for `WANTED`: one run of bytes, and where each stands in it."""
    return b"".join(ids), to_json(list(range(len(ids))))
