"""Rows of the tables of profiles' data as what they tell, for every backend."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import ProfileId
from aka.server.domain.profile_data import (
    Activity,
    Attribute,
    Holdings,
    PushToken,
    StoredActivity,
    Tombstone,
    join,
    shares,
)
from aka.server.store.store import ActivityPlace

TOMBSTONE_COLUMNS: Final = "t.survivor, t.id, t.parent, t.orphaned"
ATTRIBUTE_COLUMNS: Final = "a.origin, a.name, a.value, a.at"
ACTIVITY_COLUMNS: Final = "a.origin, a.number, a.kind, a.at, a.name, a.details"
FIRST: Final = ActivityPlace(-(2**63), ProfileId(b""), 0)
"""The place before all activities."""

Attributes = dict[ProfileId, dict[str, Attribute]]
"""Of origins, by name."""


class TrackedRows(NamedTuple):
    """The rows that data is written as, without their workspace; none twice."""

    attributes: Sequence[tuple[ProfileId, str, str, int]]
    push_tokens: Sequence[tuple[ProfileId, str, str, str]]
    activities: Sequence[tuple[ProfileId, int, str, int, str, str]]

    @classmethod
    def of(cls, graph: Graph) -> "TrackedRows":
        """Return the rows of what was folded into a graph."""
        attributes: dict[tuple[ProfileId, str], Attribute] = {}
        push_tokens: dict[tuple[ProfileId, str, str], str] = {}
        activities = []
        for profile, new, tokens, activity, number in graph.tracked:
            attributes.update({(profile, name): attribute for name, attribute in new.items()})
            push_tokens.update({(profile, app_id, token): device_id for app_id, token, device_id in tokens})
            if activity is not None:
                activities.append((profile, number, *activity))
        return cls(
            sorted((*key, *attribute) for key, attribute in attributes.items()),
            sorted((*key, device_id) for key, device_id in push_tokens.items()),
            sorted(activities),
        )


def own_shares(profiles: Iterable[ProfileId], tombstones: Iterable[Any]) -> dict[ProfileId, list[ProfileId]]:
    """Return whose attributes count as each living profile's own; `TOMBSTONE_COLUMNS` in the order of the merges."""
    found: dict[ProfileId, list[Tombstone]] = {profile: [] for profile in profiles}
    for survivor, *tombstone in tombstones:
        found[survivor].append(tombstone_of(tombstone))
    return {profile: shares(profile, merged)[profile] for profile, merged in found.items()}


def tombstone_of(values: Iterable[Any]) -> Tombstone:
    """Return the tombstone of `TOMBSTONE_COLUMNS` without the first."""
    profile, parent, orphaned = values
    return Tombstone(profile, parent, bool(orphaned))


def attributes_of(rows: Iterable[Any]) -> Attributes:
    """Return the attributes of `ATTRIBUTE_COLUMNS`."""
    found: Attributes = {}
    for origin, name, value, at in rows:
        found.setdefault(origin, {})[name] = Attribute(value, at)
    return found


def push_tokens_of(rows: Iterable[Any]) -> list[PushToken]:
    """Return the push tokens of rows of origin, app, token and device; what several origins have is one."""
    devices: dict[tuple[str, str], str] = {}
    for _, app_id, token, device_id in rows:
        devices.setdefault((app_id, token), device_id)
    return [PushToken(*key, device_id) for key, device_id in devices.items()]


def activity_of(row: Iterable[Any]) -> StoredActivity:
    """Return the activity of `ACTIVITY_COLUMNS`."""
    origin, number, *activity = row
    return StoredActivity(origin, number, Activity(*activity))


def add_holdings(
    graph: Graph,
    sharing: Mapping[ProfileId, Sequence[ProfileId]],
    attributes: Attributes,
    push_tokens: Iterable[Any],
    numbers: Iterable[Any],
) -> None:
    """Add to a graph what profiles hold: `sharing` as `own_shares` returns it, their own tokens and last numbers.

    `push_tokens` are rows of origin, app, token and device, `numbers` of origin and the last number, None for none.
    """
    holdings = {
        profile: Holdings(join(attributes.get(part, {}) for part in parts)) for profile, parts in sharing.items()
    }
    for profile, app_id, token, _ in push_tokens:
        holdings[profile].push_tokens.add((app_id, token))
    for profile, number in numbers:
        holdings[profile].activities = number or 0
    for profile, held in holdings.items():
        graph.add_holdings(profile, held)
