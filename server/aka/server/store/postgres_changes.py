"""The statements that write into PostgreSQL what was decided over parts of the identity graph; and read its journal.

A group is written in a number of statements that does not grow with it: rows go as arrays, one a column.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from aka.server.domain.changes import Change, Identified, Merged, Unlinked
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.store.deciding import Decided
from aka.server.store.journal_rows import COLUMNS, change_of, values_of
from aka.server.store.postgres_connection import Clash
from aka.server.store.postgres_data import write_data
from aka.server.store.postgres_graph import Place
from aka.server.store.store import Workspace

FORGOTTEN_AT_ONCE: Final = 1000
"""Answers that are deleted in one go, at most."""

_ENTRIES: Final = f"""
    INSERT INTO journal (at, workspace, api_key, request, {COLUMNS})
    SELECT $1, k.* FROM unnest(
        $2::bigint[], $3::bytea[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[], $9::boolean[],
        $10::boolean[], $11::bytea[], $12::bigint[], $13::bigint[], $14::bigint[]
    ) AS k
"""
_GIVEN: Final = """
    INSERT INTO profiles (workspace, id, survivor, orphaned, identifiers, user_aliases, tombstones, created_at,
        updated_at)
    SELECT k.workspace, k.id, k.id, false, 0, 0, 0, 0, 0 FROM unnest($1::bigint[], $2::bytea[]) AS k (workspace, id)
    ON CONFLICT DO NOTHING
"""
_PROFILES: Final = """
    INSERT INTO profiles (updated_at, workspace, id, survivor, parent, merged_by, orphaned, primary_id, identifiers,
        user_aliases, tombstones, created_at)
    SELECT $1, k.* FROM unnest(
        $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::boolean[], $8::text[], $9::integer[],
        $10::integer[], $11::integer[], $12::bigint[]
    ) AS k
    ON CONFLICT (workspace, id) DO UPDATE SET
        survivor = excluded.survivor, parent = excluded.parent, merged_by = excluded.merged_by,
        orphaned = excluded.orphaned, primary_id = excluded.primary_id, identifiers = excluded.identifiers,
        user_aliases = excluded.user_aliases, tombstones = excluded.tombstones, created_at = excluded.created_at,
        updated_at = excluded.updated_at
"""
_POINT: Final = "UPDATE profiles SET survivor = $3 WHERE workspace = $1 AND survivor = $2 AND parent IS NOT NULL"
_DELETE: Final = "DELETE FROM identifiers WHERE workspace = $1 AND label = $2 AND name = $3"
_IDENTIFIERS: Final = """
    INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at)
    SELECT k.* FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::boolean[], $6::bigint[]) AS k
    ON CONFLICT DO NOTHING
"""
_ANSWERS: Final = """
    INSERT INTO answers (at, workspace, request_id, method, fingerprint, answer)
    SELECT $1, k.* FROM unnest($3::bigint[], $4::bytea[], $5::text[], $6::bytea[], $7::bytea[]) AS k
    ON CONFLICT (workspace, request_id) DO UPDATE SET
        at = excluded.at, method = excluded.method, fingerprint = excluded.fingerprint, answer = excluded.answer
    WHERE answers.at <= $2
"""
_FORGET: Final = f"""
    DELETE FROM answers WHERE (workspace, request_id) IN (
        SELECT workspace, request_id FROM answers WHERE at <= $1 ORDER BY at LIMIT {FORGOTTEN_AT_ONCE}
        FOR UPDATE SKIP LOCKED
    )
"""


class Outcome(NamedTuple):
    """What was decided in a workspace, over which graph."""

    graph: Graph
    decided: Decided
    keys: Iterable[Key]
    """All that the graph was loaded for."""
    free: frozenset[Key]
    """Those that were nobody's."""


async def write(connection: asyncpg.Connection, outcomes: Mapping[Workspace, Outcome], now: int, expired: int) -> None:
    """Write what was folded into the graphs, the journal of it, and the answers to keep.

    Clash where another transaction has linked an identifier, made a profile of a given id, or kept an answer, that was
    free when it was looked up. Answers that were kept until `expired` do not count.
    """
    changed = {workspace: outcome for workspace, outcome in outcomes.items() if outcome.graph.changes}
    if changed:
        given = sorted(
            (workspace, key)
            for workspace, outcome in changed.items()
            for key in outcome.free
            if not isinstance(key, Identifier) and key in outcome.graph.made
        )
        if given:
            await _insert_all(connection, _GIVEN, len(given), *_columns(given, 2))
        rewritten = {  # not what was free: a row that is there by now is another transaction's
            (workspace, *change.identifier): None
            for workspace, outcome in changed.items()
            for change in outcome.graph.changes
            if isinstance(change, Unlinked | Identified) and change.identifier not in outcome.free
        }
        if rewritten:
            await connection.executemany(_DELETE, sorted(rewritten))
        await _link(connection, changed)
        # From here on nobody is waited for, so that the journal has transactions in the order in which they came about.
        sequences = await _write_journal(connection, changed, now)
        merges = _merges(changed, sequences)
        if merges:
            points = [(workspace, loser, row.survivor) for (workspace, loser), row in merges.items()]
            await connection.executemany(_POINT, points)
        await connection.execute(_PROFILES, now, *_columns(sorted(_profile_rows(changed, merges)), 11))
    tracked = [(workspace, outcome.graph) for workspace, outcome in outcomes.items() if outcome.graph.tracked]
    if tracked:
        await write_data(connection, tracked)
    answers = sorted(
        (workspace, once.request_id, once.method, once.fingerprint, answer)
        for workspace, outcome in outcomes.items()
        for once, answer in outcome.decided.keep
    )
    if answers:
        await _insert_all(connection, _ANSWERS, len(answers), now, expired, *_columns(answers, 5))


async def forget_answers(connection: asyncpg.Connection, before: int) -> bool:
    """Delete some answers that were kept long enough, and say whether there may be more."""
    return _count(await connection.execute(_FORGET, before)) >= FORGOTTEN_AT_ONCE


async def read_journal(connection: asyncpg.Connection, workspace: Workspace) -> AsyncIterator[tuple[int, int, Change]]:
    """Return the journal's changes in order, each with its sequence and time. The caller is in a transaction."""
    query = f"SELECT sequence, at, {COLUMNS} FROM journal WHERE workspace = $1 ORDER BY sequence"
    async for sequence, at, *values in connection.cursor(query, workspace, prefetch=1000):
        yield sequence, at, change_of(*values)


async def _write_journal(
    connection: asyncpg.Connection, outcomes: Mapping[Workspace, Outcome], now: int
) -> Sequence[int]:
    """Write the journal's entries; return the sequences of the merges, in order."""
    rows = [
        (workspace, by.api_key, by.request, *values_of(change))
        for workspace, outcome in outcomes.items()
        for by, changes in outcome.decided.journal
        for change in changes
    ]
    columns = _columns(rows, 13)
    if not any(kind == "merged" for kind in columns[3]):
        await connection.execute(_ENTRIES, now, *columns)
        return ()
    written = await connection.fetch(f"{_ENTRIES} RETURNING sequence, kind", now, *columns)
    return [sequence for sequence, kind in written if kind == "merged"]


class _Tombstone(NamedTuple):
    survivor: ProfileId
    """The last one, of all the group's merges."""
    parent: ProfileId
    merged_by: int
    orphaned: bool
    created_at: int


def _merges(outcomes: Mapping[Workspace, Outcome], sequences: Iterable[int]) -> dict[Place, _Tombstone]:
    """Return what became of those that lost a merge."""
    numbers = iter(sequences)
    lost: dict[Place, _Tombstone] = {}
    for workspace, outcome in outcomes.items():
        merged = [change for change in outcome.graph.changes if isinstance(change, Merged)]
        parents = {change.loser: change.survivor for change in merged}
        for change in merged:
            survivor = change.survivor
            while survivor in parents:
                survivor = parents[survivor]
            lost[workspace, change.loser] = _Tombstone(
                survivor, change.survivor, next(numbers), change.orphaned, change.loser_created_at
            )
    return lost


def _profile_rows(
    outcomes: Mapping[Workspace, Outcome], merges: Mapping[Place, _Tombstone]
) -> Iterable[tuple[Any, ...]]:
    """Return the rows of all profiles that were touched."""
    for workspace, outcome in outcomes.items():
        touched = {
            profile
            for change in outcome.graph.changes
            for profile in ((change.loser, change.survivor) if isinstance(change, Merged) else (change.profile,))
        }
        for profile in touched:
            living = outcome.graph.living(profile)
            if living is None:
                survivor, parent, merged_by, orphaned, created_at = merges[workspace, profile]
                yield workspace, profile, survivor, parent, merged_by, orphaned, None, 0, 0, 0, created_at
            else:
                _, primary, identifiers, user_aliases, tombstones, created_at, _ = living
                counters = identifiers, user_aliases, tombstones
                yield workspace, profile, profile, None, None, False, primary, *counters, created_at


async def _link(connection: asyncpg.Connection, outcomes: Mapping[Workspace, Outcome]) -> None:
    """Write the identifiers, and claim those that were looked up, were free and stay so.

    A claim is a row that is written and deleted again: until this transaction ends, nobody else can link what it saw
    to be free. So groups come to what they would one after the other, even where one looks at what another links.
    """
    rows: list[tuple[Any, ...]] = []
    claims: list[tuple[Workspace, str, str]] = []
    for workspace, (graph, _, keys, free) in outcomes.items():
        touched = {change.identifier for change in graph.changes if not isinstance(change, Merged)}
        for identifier in touched:
            if (link := graph.link_of(identifier)) is not None:
                rows.append((workspace, *identifier, *link))
        for key in keys:
            if key in free and isinstance(key, Identifier) and graph.link_of(key) is None:
                claims.append((workspace, *key))
    rows += ((*claim, b"", False, 0) for claim in claims)
    if rows:
        await _insert_all(connection, _IDENTIFIERS, len(rows), *_columns(sorted(rows), 6))
    if claims:
        await connection.executemany(_DELETE, claims)


async def _insert_all(connection: asyncpg.Connection, statement: str, rows: int, *values: Any) -> None:
    """Insert rows; Clash where another transaction was first. (ON CONFLICT: an error would be logged, with the key.)"""
    if _count(await connection.execute(statement, *values)) != rows:
        raise Clash


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True))) if rows else ([],) * width


def _count(status: str) -> int:
    """Return how many rows a statement touched, by its command tag."""
    return int(status.rpartition(" ")[2])
