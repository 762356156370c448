"""The statements that write profiles' data into SQLite, and read it."""

import sqlite3
from collections.abc import Collection
from typing import Final

from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import ProfileId
from aka.server.domain.profile_data import StoredActivity, StoredData
from aka.server.store.data_rows import (
    ACTIVITY_COLUMNS,
    ATTRIBUTE_COLUMNS,
    FIRST,
    TOMBSTONE_COLUMNS,
    TrackedRows,
    activity_of,
    add_holdings,
    attributes_of,
    own_shares,
    push_tokens_of,
    tombstone_of,
)
from aka.server.store.lookups import Data
from aka.server.store.sqlite_graph import WANTED, load_page, to_json, wanted
from aka.server.store.store import ProfileData, Workspace

_TOMBSTONES: Final = f"""
    SELECT {TOMBSTONE_COLUMNS} FROM {WANTED} CROSS JOIN profiles t INDEXED BY tombstones_by_survivor
        ON t.workspace = ?1 AND t.survivor = w.id AND t.parent IS NOT NULL
    ORDER BY t.merged_by
"""
_ATTRIBUTES: Final = f"""
    SELECT {ATTRIBUTE_COLUMNS} FROM {WANTED} CROSS JOIN attributes a ON a.workspace = ?1 AND a.origin = w.id
"""
_PUSH_TOKENS: Final = f"""
    SELECT p.origin, p.app_id, p.token, p.device_id FROM {WANTED}
    CROSS JOIN push_tokens p ON p.workspace = ?1 AND p.origin = w.id ORDER BY p.app_id, p.token, p.origin
"""
_NUMBERS: Final = f"""
    SELECT w.id, (SELECT max(number) FROM activities a WHERE a.workspace = ?1 AND a.origin = w.id) FROM {WANTED}
"""
_ACTIVITIES: Final = f"""
    SELECT {ACTIVITY_COLUMNS} FROM (
        SELECT i.origin, i.number FROM {WANTED} CROSS JOIN activities i INDEXED BY activities_by_time
            ON i.workspace = ?1 AND i.origin = w.id AND i.at >= ?4
        WHERE (i.at, i.origin, i.number) > (?4, ?5, ?6) AND i.kind IN (SELECT value FROM json_each(?7))
        ORDER BY i.at, i.origin, i.number LIMIT ?8
    ) k CROSS JOIN activities a ON a.workspace = ?1 AND a.origin = k.origin AND a.number = k.number
    ORDER BY a.at, a.origin, a.number
"""
_OWN_ACTIVITIES: Final = f"""
    SELECT {ACTIVITY_COLUMNS} FROM activities a INDEXED BY activities_by_time
    WHERE a.workspace = ?1 AND a.origin = ?2 AND a.at >= ?3 AND (a.at, a.origin, a.number) > (?3, ?4, ?5)
        AND a.kind IN (SELECT value FROM json_each(?6))
    ORDER BY a.at, a.number LIMIT ?7
"""
_SET_ATTRIBUTE: Final = """
    INSERT INTO attributes (workspace, origin, name, value, at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (workspace, origin, name) DO UPDATE SET value = excluded.value, at = excluded.at
"""
_SET_PUSH_TOKEN: Final = """
    INSERT INTO push_tokens (workspace, origin, app_id, token, device_id) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (workspace, origin, app_id, token) DO UPDATE SET device_id = excluded.device_id
"""
_ADD_ACTIVITY: Final = """
    INSERT INTO activities (workspace, origin, number, kind, at, name, details) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def load_holdings(
    connection: sqlite3.Connection, workspace: Workspace, graph: Graph, profiles: Collection[ProfileId]
) -> None:
    """Add to the graph what living profiles hold."""
    own = workspace, *wanted(list(profiles))
    sharing = own_shares(profiles, connection.execute(_TOMBSTONES, own))
    parts = [part for share in sharing.values() for part in share]
    attributes = attributes_of(connection.execute(_ATTRIBUTES, (workspace, *wanted(parts))))
    tokens, numbers = connection.execute(_PUSH_TOKENS, own), connection.execute(_NUMBERS, own)
    add_holdings(graph, sharing, attributes, tokens, numbers)


def load_data(connection: sqlite3.Connection, asked: Data) -> ProfileData | None:
    """Return a profile's data. The caller sees to one snapshot."""
    workspace = asked.workspace
    page = load_page(connection, workspace, asked.key, None, asked.identifiers)
    if page is None:
        return None
    profile_id, tombstones = page.profile.id, []
    if page.tombstones:
        rows = connection.execute(_TOMBSTONES, (workspace, *wanted([profile_id])))
        tombstones = [tombstone_of(values) for _, *values in rows]
    parts = workspace, *wanted([profile_id, *(tombstone.id for tombstone in tombstones)])
    activities: list[StoredActivity] = []
    if asked.kinds:
        # Of one origin's the index has the order already: that takes two thirds of the time.
        statement, whose = (_ACTIVITIES, parts) if tombstones else (_OWN_ACTIVITIES, (workspace, profile_id))
        behind = *whose, *(asked.after or FIRST), to_json(list(asked.kinds)), asked.limit + 1
        activities = [activity_of(row) for row in connection.execute(statement, behind)]
    data = StoredData(
        tombstones,
        attributes_of(connection.execute(_ATTRIBUTES, parts)),
        push_tokens_of(connection.execute(_PUSH_TOKENS, parts)),
        activities[: asked.limit],
    )
    return ProfileData(page, data, len(activities) > asked.limit)


def write_data(connection: sqlite3.Connection, workspace: Workspace, graph: Graph) -> None:
    """Write the data that was folded into the graph, whose profiles are written."""
    rows = TrackedRows.of(graph)
    for statement, written in (
        (_SET_ATTRIBUTE, rows.attributes),
        (_SET_PUSH_TOKEN, rows.push_tokens),
        (_ADD_ACTIVITY, rows.activities),
    ):
        connection.executemany(statement, [(workspace, *row) for row in written])
