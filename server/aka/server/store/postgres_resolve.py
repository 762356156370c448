"""The statement that tells from PostgreSQL whose keys are."""

from collections.abc import Collection, Mapping
from typing import Final

import asyncpg

from aka.server.domain.identifiers import Key
from aka.server.store.postgres_graph import BY_IDENTIFIER, BY_PROFILE, Wanted
from aka.server.store.store import Living, Workspace

# Most origins live, so that only a tombstone's survivor is looked up too.
_LIVING: Final = """
    o.survivor, CASE o.survivor WHEN o.id THEN o.primary_id
    ELSE (SELECT s.primary_id FROM profiles s WHERE s.workspace = o.workspace AND s.id = o.survivor) END
"""
_WHOSE: Final = f"""
    SELECT k.place, {_LIVING} FROM {BY_IDENTIFIER} UNION ALL SELECT -k.place, {_LIVING} FROM {BY_PROFILE}
"""


async def resolve(
    connection: asyncpg.Connection, keys: Mapping[Workspace, Collection[Key]]
) -> dict[Workspace, dict[Key, Living]]:
    """Return whose each workspace's keys are, as of one moment; those that are nobody's are not in it."""
    found: dict[Workspace, dict[Key, Living]] = {workspace: {} for workspace in keys}
    wanted = Wanted.of(keys)
    for place, survivor, primary in await connection.fetch(_WHOSE, *wanted.arrays()):
        living = Living(survivor, primary)
        if place > 0:
            workspace, identifier = wanted.identifiers[place - 1]
            found[workspace][identifier] = living
        else:
            workspace, profile_id = wanted.profiles[-place - 1]
            found[workspace][profile_id] = living
    return found
