"""The statements that tell from SQLite whose a key is."""

import sqlite3
from collections.abc import Collection
from typing import Final

import msgspec

from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.store.sqlite_graph import USER_ALIASES, WANTED, by_label, to_json, wanted
from aka.server.store.store import Living, Workspace

# Most origins live, so that only a tombstone's survivor is looked up too.
_PRIMARY: Final = """
    CASE o.survivor WHEN o.id THEN o.primary_id
    ELSE (SELECT s.primary_id FROM profiles s WHERE s.workspace = o.workspace AND s.id = o.survivor) END
"""
_LIVING: Final = f"o.survivor, {_PRIMARY}"
_ORIGIN: Final = "CROSS JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin"

_ONE: Final = f"""
    SELECT {_LIVING} FROM identifiers i {_ORIGIN} WHERE i.workspace = ? AND i.label = ? AND i.name = ?
"""
# One row: Python's sqlite3 takes the GIL again for every row, and waits for it while the event loop is busy.
_IDS: Final = f"""
    SELECT json_group_array(json_array(i.name, hex(o.survivor), {_PRIMARY})) FROM json_each(?2) j
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = '' AND i.name = j.value {_ORIGIN}
"""
_USER_ALIASES: Final = f"""
    SELECT i.label, i.name, {_LIVING} FROM {USER_ALIASES}
    CROSS JOIN identifiers i ON i.workspace = ?1 AND i.label = l.key AND i.name = n.value {_ORIGIN}
"""
_PROFILES: Final = f"""
    SELECT o.id, {_LIVING} FROM {WANTED} CROSS JOIN profiles o ON o.workspace = ?1 AND o.id = w.id
"""


_ROWS: Final = msgspec.json.Decoder(list[tuple[str, str, str | None]])


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
        (rows,) = connection.execute(_IDS, (workspace, to_json(ids))).fetchone()
        for name, survivor, primary in _ROWS.decode(rows):
            found[Identifier("", name)] = Living(ProfileId(bytes.fromhex(survivor)), primary)
    if user_aliases:
        for label, name, *living in connection.execute(_USER_ALIASES, (workspace, by_label(user_aliases))):
            found[Identifier(label, name)] = Living(*living)
    if profile_ids:
        for profile_id, *living in connection.execute(_PROFILES, (workspace, *wanted(profile_ids))):
            found[profile_id] = Living(*living)
    return found
