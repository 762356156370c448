"""The statements that write profiles' data into PostgreSQL, and read it."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import asyncpg

from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import ProfileId
from aka.server.domain.profile_data import StoredData
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
from aka.server.store.postgres_graph import load_page
from aka.server.store.store import ProfileData, Workspace

_KEYS: Final = "unnest($2::bytea[]) AS k (id)"
_TOMBSTONES: Final = f"""
    SELECT {TOMBSTONE_COLUMNS} FROM {_KEYS} CROSS JOIN LATERAL (
        SELECT {TOMBSTONE_COLUMNS}, t.merged_by FROM profiles t
        WHERE t.workspace = $1 AND t.survivor = k.id AND t.parent IS NOT NULL OFFSET 0
    ) t
    ORDER BY t.merged_by
"""
_ATTRIBUTES: Final = f"""
    SELECT a.* FROM {_KEYS} CROSS JOIN LATERAL (
        SELECT {ATTRIBUTE_COLUMNS} FROM attributes a WHERE a.workspace = $1 AND a.origin = k.id OFFSET 0
    ) a
"""
_PUSH_TOKENS: Final = f"""
    SELECT p.* FROM {_KEYS} CROSS JOIN LATERAL (
        SELECT p.origin, p.app_id, p.token, p.device_id FROM push_tokens p
        WHERE p.workspace = $1 AND p.origin = k.id OFFSET 0
    ) p
    ORDER BY p.app_id, p.token, p.origin
"""
_NUMBERS: Final = f"""
    SELECT k.id, (
        SELECT a.number FROM activities a WHERE a.workspace = $1 AND a.origin = k.id ORDER BY a.number DESC LIMIT 1
    ) FROM {_KEYS}
"""
_ACTIVITIES: Final = f"""
    SELECT a.* FROM {_KEYS} CROSS JOIN LATERAL (
        SELECT {ACTIVITY_COLUMNS} FROM activities a
        WHERE a.workspace = $1 AND a.origin = k.id AND a.at >= $3 AND (a.at, a.origin, a.number) > ($3, $4, $5)
            AND a.kind = ANY ($6::text[])
        ORDER BY a.at, a.number LIMIT $7
    ) a
    ORDER BY a.at, a.origin, a.number LIMIT $7
"""
_SET_ATTRIBUTES: Final = """
    INSERT INTO attributes (workspace, origin, name, value, at)
    SELECT k.* FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::text[], $5::bigint[]) AS k
    ON CONFLICT (workspace, origin, name) DO UPDATE SET value = excluded.value, at = excluded.at
"""
_SET_PUSH_TOKENS: Final = """
    INSERT INTO push_tokens (workspace, origin, app_id, token, device_id)
    SELECT k.* FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::text[], $5::text[]) AS k
    ON CONFLICT (workspace, origin, app_id, token) DO UPDATE SET device_id = excluded.device_id
"""
_ADD_ACTIVITIES: Final = """
    INSERT INTO activities (workspace, origin, number, kind, at, name, details)
    SELECT k.* FROM unnest(
        $1::bigint[], $2::bytea[], $3::integer[], $4::text[], $5::bigint[], $6::text[], $7::text[]
    ) AS k
"""


async def load_holdings(
    connection: asyncpg.Connection, workspace: Workspace, graph: Graph, profiles: Collection[ProfileId]
) -> None:
    """Add to the graph what living profiles hold. The caller has locked them."""
    own = list(profiles)
    sharing = own_shares(own, await connection.fetch(_TOMBSTONES, workspace, own))
    parts = [part for share in sharing.values() for part in share]
    attributes = attributes_of(await connection.fetch(_ATTRIBUTES, workspace, parts))
    tokens = await connection.fetch(_PUSH_TOKENS, workspace, own)
    numbers = await connection.fetch(_NUMBERS, workspace, own)
    add_holdings(graph, sharing, attributes, tokens, numbers)


async def load_data(connection: asyncpg.Connection, asked: Data) -> ProfileData | None:
    """Return a profile's data. The caller sees to one snapshot."""
    workspace = asked.workspace
    page = await load_page(connection, workspace, asked.key, None, asked.identifiers)
    if page is None:
        return None
    rows = await connection.fetch(_TOMBSTONES, workspace, [page.profile.id])
    tombstones = [tombstone_of(values) for _, *values in rows]
    parts = [page.profile.id, *(tombstone.id for tombstone in tombstones)]
    activities: Sequence[Any] = ()
    if asked.kinds:
        behind = *(asked.after or FIRST), list(asked.kinds), asked.limit + 1
        activities = await connection.fetch(_ACTIVITIES, workspace, parts, *behind)
    data = StoredData(
        tombstones,
        attributes_of(await connection.fetch(_ATTRIBUTES, workspace, parts)),
        push_tokens_of(await connection.fetch(_PUSH_TOKENS, workspace, parts)),
        [activity_of(row) for row in activities[: asked.limit]],
    )
    return ProfileData(page, data, len(activities) > asked.limit)


async def write_data(connection: asyncpg.Connection, graphs: Iterable[tuple[Workspace, Graph]]) -> None:
    """Write the data that was folded into the graphs, whose profiles are locked or new."""
    attributes: list[tuple[Any, ...]] = []
    push_tokens: list[tuple[Any, ...]] = []
    activities: list[tuple[Any, ...]] = []
    for workspace, graph in graphs:
        rows = TrackedRows.of(graph)
        attributes += ((workspace, *row) for row in rows.attributes)
        push_tokens += ((workspace, *row) for row in rows.push_tokens)
        activities += ((workspace, *row) for row in rows.activities)
    for statement, written in (
        (_SET_ATTRIBUTES, attributes),
        (_SET_PUSH_TOKENS, push_tokens),
        (_ADD_ACTIVITIES, activities),
    ):
        if written:
            await connection.execute(statement, *map(list, zip(*written, strict=True)))
