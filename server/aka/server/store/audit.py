"""The integrity check's part that every backend shares: stored rows against what the journal adds up to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from aka.server.domain.changes import Change
from aka.server.domain.graph import Link
from aka.server.domain.identifiers import Identifier, ProfileId, uuid_text
from aka.server.domain.journal import Counts, History, Record

SHOWN: Final = 20
"""Faults of one kind that are listed; the rest are counted."""

PROFILE_COLUMNS: Final = (
    "id, survivor, primary_id, created_at, updated_at, parent, orphaned, identifiers, user_aliases, tombstones"
)
IDENTIFIER_COLUMNS: Final = "label, name, origin, anonymous, linked_at"


def profile_faults(differs: str) -> dict[str, str]:
    """Return the queries that find (workspace, profile) where a fault is, by the fault.

    `differs` is how the backend compares values that may be NULL.
    """
    return {fault: query.format(differs=differs) for fault, query in _PROFILE_FAULTS.items()}


_PROFILE_FAULTS: Final = {
    "its survivor is no living profile": """
        SELECT p.workspace, p.id FROM profiles p
        LEFT JOIN profiles s ON s.workspace = p.workspace AND s.id = p.survivor
        WHERE s.survivor {differs} p.survivor
    """,
    "it is neither living nor a tombstone": """
        SELECT workspace, id FROM profiles
        WHERE (parent IS NULL) <> (survivor = id) OR (parent IS NULL) <> (merged_by IS NULL)
    """,
    "no merge in the journal made it a tombstone": """
        SELECT p.workspace, p.id FROM profiles p
        LEFT JOIN journal j ON j.workspace = p.workspace AND j.sequence = p.merged_by
        WHERE p.merged_by IS NOT NULL AND (j.kind {differs} 'merged' OR j.other <> p.id OR j.profile <> p.parent)
    """,
    "it is a tombstone with a primary id or counters": """
        SELECT workspace, id FROM profiles
        WHERE parent IS NOT NULL AND (primary_id IS NOT NULL OR identifiers + user_aliases + tombstones > 0)
    """,
    "its primary id is not on it, or is marked anonymous": """
        SELECT p.workspace, p.id FROM profiles p
        LEFT JOIN identifiers i ON i.workspace = p.workspace AND i.label = '' AND i.name = p.primary_id
        LEFT JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
        WHERE p.primary_id IS NOT NULL AND (o.survivor {differs} p.id OR i.anonymous)
    """,
    "it has two names under one label": """
        SELECT o.workspace, o.survivor FROM identifiers i
        JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin
        WHERE i.label > '' GROUP BY o.workspace, o.survivor, i.label HAVING count(*) > 1
    """,
    "it has data and is not stored": """
        SELECT d.workspace, d.origin FROM (
            SELECT workspace, origin FROM attributes UNION SELECT workspace, origin FROM push_tokens
            UNION SELECT workspace, origin FROM activities
        ) d LEFT JOIN profiles p ON p.workspace = d.workspace AND p.id = d.origin WHERE p.id IS NULL
    """,
    "some of its activities are not stored": """
        SELECT workspace, origin FROM activities GROUP BY workspace, origin HAVING count(*) <> max(number)
    """,
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    summary: str
    faults: list[str]
    """One line each; empty where all is well."""


@dataclass(slots=True)
class Audit:
    """Adds up one workspace's journal, then takes its stored rows off that sum. Holds all of it in memory."""

    _history: History = field(default_factory=History)
    _survivors: dict[ProfileId, ProfileId] = field(default_factory=dict)
    _counts: dict[ProfileId, Counts] = field(default_factory=dict)

    def adds_up(self, change: Change, at: int) -> bool:
        """Add the journal's next change; say whether it fits what the entries before it add up to."""
        try:
            self._history.apply(change, at)
        except ValueError:
            return False
        return True

    def compare(self, profiles: Iterable[Any], identifiers: Iterable[Any]) -> Iterator[str]:
        """Return the faults of all stored rows, with `PROFILE_COLUMNS` and `IDENTIFIER_COLUMNS`."""
        history = self._history
        self._survivors, self._counts = history.survivors(), history.counts()
        for row in profiles:
            yield from self._profile_faults(*row)
        for profile in history.profiles:
            yield f"profile {uuid_text(profile)}: it is in the journal and not stored"
        for label, name, origin, anonymous, linked_at in identifiers:
            identifier = Identifier(label, name)
            if history.links.pop(identifier, None) != Link(origin, bool(anonymous), linked_at):
                yield f"identifier {tuple(identifier)}: the journal tells of it otherwise"
        for identifier in history.links:
            yield f"identifier {tuple(identifier)}: it is in the journal and not stored"

    def _profile_faults(
        self,
        profile: ProfileId,
        survivor: ProfileId,
        primary: str | None,
        created_at: int,
        updated_at: int,
        parent: ProfileId | None,
        orphaned: bool,
        *counters: int,
    ) -> Iterator[str]:
        told = self._history.profiles.pop(profile, None)
        name = f"profile {uuid_text(profile)}"
        record, counts = Record(primary, created_at, updated_at, parent, bool(orphaned)), Counts(*counters)
        if told is None:
            yield f"{name}: the journal knows nothing of it"
            return
        if self._survivors[profile] != survivor:
            told_survivor = uuid_text(self._survivors[profile])
            yield f"{name}: the journal makes {told_survivor} its survivor, not {uuid_text(survivor)}"
        if told != record:
            yield f"{name}: the journal tells of it as {told}, stored is {record}"
        if self._counts[profile] != counts:
            yield f"{name}: it has {self._counts[profile]}, stored is {counts}"


def shown(faults: Iterable[str]) -> Iterator[str]:
    """Return the first faults of a kind, and how many there are beyond them."""
    faults = iter(faults)
    yield from islice(faults, SHOWN)
    if more := sum(1 for _ in faults):
        yield f"... and {more} more like these"
