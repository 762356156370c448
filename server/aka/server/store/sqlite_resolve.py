"""The statements that tell from SQLite whose a key is."""

import sqlite3
from collections.abc import Collection
from typing import Final

from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.store.sqlite_graph import USER_ALIASES, WANTED, by_label, to_json, wanted
from aka.server.store.store import Living, Workspace

# Most origins live, so that only a tombstone's survivor is looked up too.
_LIVING: Final = """
    o.survivor, CASE o.survivor WHEN o.id THEN o.primary_id
    ELSE (SELECT s.primary_id FROM profiles s WHERE s.workspace = o.workspace AND s.id = o.survivor) END
"""
_ORIGIN: Final = "CROSS JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin"

_ONE: Final = f"""
    SELECT {_LIVING} FROM identifiers i {_ORIGIN} WHERE i.workspace = ? AND i.label = ? AND i.name = ?
"""
_IDS: Final = f"""
    SELECT i.name, {_LIVING} FROM json_each(?2) j
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = '' AND i.name = j.value {_ORIGIN}
"""
_USER_ALIASES: Final = f"""
    SELECT i.label, i.name, {_LIVING} FROM {USER_ALIASES}
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = l.key AND i.name = n.value {_ORIGIN}
"""
_PROFILES: Final = f"""
    SELECT o.id, {_LIVING} FROM {WANTED} CROSS JOIN profiles o ON o.workspace = ?1 AND o.id = w.id
"""


def resolve(connection: sqlite3.Connection, workspace: Workspace, keys: Collection[Key]) -> dict[Key, Living]:
    """Return whose the keys are; those that are nobody's are not in it."""
    found: dict[Key, Living] = {}
    ids: list[str] = []
    user_aliases: list[Identifier] = []
    profile_ids: list[ProfileId] = []
    for key in keys:
        if not isinstance(key, Identifier):
            profile_ids.append(key)
        elif len(keys) == 1:
            for row in connection.execute(_ONE, (workspace, *key)):
                found[key] = Living(*row)
        elif key.is_id:
            ids.append(key.name)
        else:
            user_aliases.append(key)
    if ids:
        for name, *living in connection.execute(_IDS, (workspace, to_json(ids))):
            found[Identifier("", name)] = Living(*living)
    if user_aliases:
        for label, name, *living in connection.execute(_USER_ALIASES, (workspace, by_label(user_aliases))):
            found[Identifier(label, name)] = Living(*living)
    if profile_ids:
        for profile_id, *living in connection.execute(_PROFILES, (workspace, *wanted(profile_ids))):
            found[profile_id] = Living(*living)
    return found
