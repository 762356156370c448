"""The statements that load a part of the identity graph from PostgreSQL.

A group is loaded in a number of statements that does not grow with it, whatever workspaces its calls are of: keys come
as arrays. LATERAL with OFFSET 0 keeps PostgreSQL to the order as written, from the keys to the rows, one look-up by its
whole primary key after the other, even where a table was small when the statement was planned.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import asyncpg

from aka.server.domain.graph import Graph, Link, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.store.store import Kept, ProfilePage, StoredLink, Workspace

Place = tuple[Workspace, ProfileId]
"""Where a profile's row is."""

IDENTIFIERS: Final = "unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS k (workspace, label, name, place)"
PROFILES: Final = "unnest($4::bigint[], $5::bytea[]) WITH ORDINALITY AS k (workspace, id, place)"
"""The keys as `Wanted.arrays` binds them."""

_LINK: Final = "i.label, i.name, i.origin, i.anonymous, i.linked_at"
_HEADER: Final = "s.id, s.primary_id, s.identifiers, s.user_aliases, s.tombstones, s.created_at, s.updated_at"
_IDENTIFIER: Final = """LATERAL (
    SELECT i.origin, i.anonymous, i.linked_at FROM identifiers i
    WHERE i.workspace = k.workspace AND i.label = k.label AND i.name = k.name OFFSET 0
) i"""
_SURVIVOR: Final = f"""LATERAL (
    SELECT {_HEADER} FROM profiles s WHERE s.workspace = k.workspace AND s.id = o.survivor OFFSET 0
) s"""


def origin(key: str) -> str:
    """Return what joins the row of the profile whose id is `key`, in the workspace of the key `k`."""
    return f"""LATERAL (
        SELECT o.workspace, o.id, o.survivor, o.primary_id FROM profiles o
        WHERE o.workspace = k.workspace AND o.id = {key} OFFSET 0
    ) o"""


BY_IDENTIFIER: Final = f"{IDENTIFIERS} CROSS JOIN {_IDENTIFIER} CROSS JOIN {origin('i.origin')}"
BY_PROFILE: Final = f"{PROFILES} CROSS JOIN {origin('k.id')}"
"""The keys with their identifier `i` and origin `o`."""

_GRAPH: Final = f"""
    SELECT k.place, i.origin, i.anonymous, i.linked_at, {_HEADER} FROM {BY_IDENTIFIER} CROSS JOIN {_SURVIVOR}
    UNION ALL
    SELECT -k.place, k.id, NULL, NULL, {_HEADER} FROM {BY_PROFILE} CROSS JOIN {_SURVIVOR}
"""
_SURVIVORS: Final = f"""
    SELECT k.workspace, o.survivor FROM {BY_IDENTIFIER}
    UNION
    SELECT k.workspace, o.survivor FROM {BY_PROFILE}
"""
_LOCK: Final = """
    SELECT 1 FROM unnest($1::bigint[], $2::bytea[]) AS k (workspace, id) CROSS JOIN LATERAL (
        SELECT 1 FROM profiles p WHERE p.workspace = k.workspace AND p.id = k.id FOR UPDATE
    ) f
"""
_LABELS: Final = """
    SELECT k.place, i.label, i.name
    FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS k (workspace, id, place)
    CROSS JOIN LATERAL (
        SELECT k.id
        UNION ALL
        SELECT t.id FROM profiles t WHERE t.workspace = k.workspace AND t.survivor = k.id AND t.parent IS NOT NULL
    ) o
    CROSS JOIN LATERAL (
        SELECT i.label, i.name FROM identifiers i WHERE i.workspace = k.workspace AND i.origin = o.id OFFSET 0
    ) i
    WHERE i.label > ''
"""
_KEPT: Final = """
    SELECT k.place, a.method, a.fingerprint, a.answer
    FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS k (workspace, id, place)
    CROSS JOIN LATERAL (
        SELECT a.method, a.fingerprint, a.answer, a.at FROM answers a
        WHERE a.workspace = k.workspace AND a.request_id = k.id OFFSET 0
    ) a
    WHERE a.at > $3
"""
_PAGE: Final = f"""
    (
        SELECT {_LINK} FROM identifiers i
        WHERE i.workspace = $1 AND i.origin = $2 AND (i.label, i.name) > ($3, $4) ORDER BY i.label, i.name LIMIT $5
    )
    UNION ALL
    SELECT f.* FROM profiles t CROSS JOIN LATERAL (
        SELECT {_LINK} FROM identifiers i
        WHERE i.workspace = t.workspace AND i.origin = t.id AND (i.label, i.name) > ($3, $4)
        ORDER BY i.label, i.name LIMIT $5
    ) f
    WHERE t.workspace = $1 AND t.survivor = $2 AND t.parent IS NOT NULL
    ORDER BY 1, 2 LIMIT $5
"""
_LINKS: Final = f"""
    SELECT k.label, k.name, k.anonymous, k.linked_at, s.id, s.primary_id FROM (
        SELECT i.workspace, i.label, i.name, i.origin, i.anonymous, i.linked_at FROM identifiers i
        WHERE i.workspace = $1 AND (i.label, i.name) > ($2, $3) ORDER BY i.label, i.name LIMIT $4
    ) k
    CROSS JOIN {origin("k.origin")} CROSS JOIN {_SURVIVOR}
    ORDER BY k.label, k.name
"""
_TOMBSTONES: Final = """
    SELECT id FROM profiles WHERE workspace = $1 AND survivor = $2 AND parent IS NOT NULL
    ORDER BY merged_by DESC LIMIT 100
"""


class Wanted(NamedTuple):
    """Keys of any number of workspaces."""

    identifiers: Sequence[tuple[Workspace, Identifier]]
    profiles: Sequence[Place]

    @classmethod
    def of(cls, keys: Mapping[Workspace, Iterable[Key]]) -> "Wanted":
        """Return the keys of each workspace."""
        identifiers: list[tuple[Workspace, Identifier]] = []
        profiles: list[Place] = []
        for workspace, each in keys.items():
            for key in each:
                if isinstance(key, Identifier):
                    identifiers.append((workspace, key))
                else:
                    profiles.append((workspace, key))
        return cls(identifiers, profiles)

    def arrays(self) -> tuple[list[Workspace], list[str], list[str], list[Workspace], list[ProfileId]]:
        """Return the parameters that `IDENTIFIERS` and `PROFILES` name."""
        identifiers = [identifier for _, identifier in self.identifiers]
        return (
            [workspace for workspace, _ in self.identifiers],
            [label for label, _ in identifiers],
            [name for _, name in identifiers],
            *_columns(self.profiles),
        )


def empty_graphs(
    keys: Mapping[Workspace, Collection[Key]], now: int, new_profile_id: Callable[[], ProfileId]
) -> dict[Workspace, Graph]:
    """Return a graph for each workspace in which its keys are nobody's."""
    graphs = {workspace: Graph(now, new_profile_id) for workspace in keys}
    for workspace, graph in graphs.items():
        graph.add_free(keys[workspace])
    return graphs


async def load(
    connection: asyncpg.Connection,
    keys: Mapping[Workspace, Collection[Key]],
    now: int,
    new_profile_id: Callable[[], ProfileId],
) -> dict[Workspace, Graph]:
    """Return the part of each workspace's graph that its keys reach, as of one moment."""
    graphs = empty_graphs(keys, now, new_profile_id)
    wanted = Wanted.of(keys)
    for place, origin, anonymous, linked_at, *header in await connection.fetch(_GRAPH, *wanted.arrays()):
        survivor = Profile(*header)
        if place > 0:
            workspace, identifier = wanted.identifiers[place - 1]
            graphs[workspace].add_link(identifier, Link(origin, anonymous, linked_at), survivor)
        else:
            graphs[wanted.profiles[-place - 1][0]].add_profile(origin, survivor)
    return graphs


async def lock(connection: asyncpg.Connection, keys: Mapping[Workspace, Collection[Key]]) -> set[Place]:
    """Lock the profiles that the keys resolve to, in one order whoever locks, and return which were locked."""
    survivors = await survivors_of(connection, keys)
    if survivors:
        await connection.execute(_LOCK, *_columns(survivors))
    return set(survivors)


async def survivors_of(connection: asyncpg.Connection, keys: Mapping[Workspace, Collection[Key]]) -> list[Place]:
    """Return the profiles that the keys resolve to, in the order in which they are to be locked."""
    return sorted(map(tuple, await connection.fetch(_SURVIVORS, *Wanted.of(keys).arrays())))


async def load_labels(connection: asyncpg.Connection, wanted: Iterable[tuple[Workspace, Graph, ProfileId]]) -> None:
    """Add the labels of living profiles to their graphs."""
    wanted = list(wanted)
    found: list[list[Identifier]] = [[] for _ in wanted]
    parts = [
        (workspace, part, place)
        for place, (workspace, graph, profile) in enumerate(wanted)
        for part in graph.parts(profile)
    ]
    rows = await connection.fetch(_LABELS, *_columns([(workspace, part) for workspace, part, _ in parts]))
    for place, label, name in rows:
        found[parts[place - 1][2]].append(Identifier(label, name))
    for (_, graph, profile), user_aliases in zip(wanted, found, strict=True):
        graph.add_labels(profile, user_aliases)


async def load_kept(
    connection: asyncpg.Connection, request_ids: Sequence[tuple[Workspace, bytes]], since: int
) -> dict[Workspace, dict[bytes, Kept]]:
    """Return the answers that the request ids got since a time."""
    kept: dict[Workspace, dict[bytes, Kept]] = {workspace: {} for workspace, _ in request_ids}
    if request_ids:
        for place, *answer in await connection.fetch(_KEPT, *_columns(request_ids), since):
            workspace, request_id = request_ids[place - 1]
            kept[workspace][request_id] = Kept(*answer)
    return kept


async def load_page(
    connection: asyncpg.Connection, workspace: Workspace, key: Key, after: Identifier | None, limit: int
) -> ProfilePage | None:
    """Return a profile and a page of its identifiers. The caller sees to one snapshot."""
    graphs = await load(connection, {workspace: [key]}, 0, lambda: ProfileId(b""))
    profile = graphs[workspace].find(key)
    if profile is None:
        return None
    position = after or Identifier("", "")
    rows = await connection.fetch(_PAGE, workspace, profile.id, *position, limit + 1)
    return ProfilePage(
        profile,
        [
            (Identifier(label, name), Link(origin, anonymous, linked_at))
            for label, name, origin, anonymous, linked_at in rows[:limit]
        ],
        len(rows) > limit,
        list(chain.from_iterable(await connection.fetch(_TOMBSTONES, workspace, profile.id))),
    )


async def load_links(
    connection: asyncpg.Connection, workspace: Workspace, after: Identifier | None, limit: int
) -> list[StoredLink]:
    """Return links in the order of their identifiers."""
    rows = await connection.fetch(_LINKS, workspace, *(after or ("", "")), limit)
    return [StoredLink(Identifier(label, name), *rest) for label, name, *rest in rows]


def _columns(places: Iterable[tuple[Workspace, Any]]) -> tuple[list[Workspace], list[Any]]:
    places = list(places)
    return [workspace for workspace, _ in places], [each for _, each in places]
