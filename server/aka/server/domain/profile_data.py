"""The data of profiles: what there is of it, and whose it is after merges. It stays with its origin."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from aka.server.domain.identifiers import ProfileId

REMOVED: Final = "null"
"""The value of an attribute that was removed. It counts as a value: it wins where a profile is the survivor."""


class Attribute(NamedTuple):
    """What a profile's attribute is, and since when (microseconds since the epoch)."""

    value: str
    """JSON."""
    at: int


class PushToken(NamedTuple):
    """Where a device receives push messages."""

    app_id: str
    token: str
    device_id: str


Kind = Literal["event", "purchase", "message"]


class Activity(NamedTuple):
    """An event, a purchase or a message, and when it was (microseconds since the epoch)."""

    kind: Kind
    at: int
    name: str
    details: str
    """A JSON object."""


class StoredActivity(NamedTuple):
    """An activity, the profile that it was put on, and its number there, from 1."""

    origin: ProfileId
    number: int
    activity: Activity


class Tracked(NamedTuple):
    """Data was put on a living profile, which is its origin.

    The journal does not keep it: no merge moves data, so that taking a merge back takes back all that it did to it.
    """

    profile: ProfileId
    attributes: Mapping[str, Attribute]
    push_tokens: tuple[PushToken, ...] = ()
    activity: Activity | None = None
    number: int = 0
    """The activity's number on the profile."""


class Tombstone(NamedTuple):
    """A profile that was merged into `parent`, and whether its attributes, events and purchases were left behind."""

    id: ProfileId
    parent: ProfileId
    orphaned: bool


def shares(living: ProfileId, tombstones: Sequence[Tombstone]) -> dict[ProfileId, list[ProfileId]]:
    """Return which profiles' attributes, events and purchases count as whose, the strongest first.

    The living profile's share comes first, then one of each tombstone that was left with its own; within a share each
    profile comes before those that were merged into it. `tombstones` are in the order of their merges.
    """
    merged_into: dict[ProfileId, list[Tombstone]] = {}
    for tombstone in tombstones:
        merged_into.setdefault(tombstone.parent, []).append(tombstone)
    found: dict[ProfileId, list[ProfileId]] = {living: []}
    waiting = [(living, living)]
    while waiting:
        profile, share = waiting.pop()
        found[share].append(profile)
        for tombstone in reversed(merged_into.get(profile, ())):
            if tombstone.orphaned:
                found[tombstone.id] = []
            waiting.append((tombstone.id, tombstone.id if tombstone.orphaned else share))
    order = {tombstone.id: place for place, tombstone in enumerate(tombstones)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], -1)))


def join(parts: Iterable[Mapping[str, Attribute]]) -> dict[str, Attribute]:
    """Return the attributes of several profiles as one's: those of the first win, and the others fill the gaps."""
    joined: dict[str, Attribute] = {}
    for part in parts:
        joined = {**part, **joined}
    return joined


@dataclass(slots=True)
class Holdings:
    """What a living profile holds that a rule asks for."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    """All that count as its own."""
    push_tokens: set[tuple[str, str]] = field(default_factory=set)
    """App and token of those that were put on it."""
    activities: int = 0
    """How many were put on it."""

    def put(self, tracked: Tracked) -> None:
        """Add what was put on the profile."""
        self.attributes.update(tracked.attributes)
        self.push_tokens.update((app_id, token) for app_id, token, _ in tracked.push_tokens)
        self.activities = tracked.number or self.activities

    def copy(self) -> "Holdings":
        """Return other holdings of the same."""
        return Holdings(self.attributes.copy(), self.push_tokens.copy(), self.activities)


class Share(NamedTuple):
    """Attributes and activities that count as a profile's own."""

    profile: ProfileId
    attributes: Mapping[str, str]
    """JSON values by name."""
    activities: Sequence[Activity]


class StoredData(NamedTuple):
    """The data of a living profile and its tombstones, as it is stored."""

    tombstones: Sequence[Tombstone]
    """In the order of their merges."""
    attributes: Mapping[ProfileId, Mapping[str, Attribute]]
    push_tokens: Sequence[PushToken]
    """All of them; one that several profiles have once."""
    activities: Sequence[StoredActivity]
    """By time, then origin and number."""


def share_out(living: ProfileId, data: StoredData) -> list[Share]:
    """Return what counts as the living profile's, then what is orphaned on each of its tombstones.

    Messages count as the living profile's, whatever the merges.
    """
    parts = shares(living, data.tombstones)
    whose = {part: profile for profile, share in parts.items() for part in share}
    activities: dict[ProfileId, list[Activity]] = {profile: [] for profile in parts}
    for origin, _, activity in data.activities:
        activities[living if activity.kind == "message" else whose[origin]].append(activity)
    return [
        Share(
            profile,
            {
                name: attribute.value
                for name, attribute in join(data.attributes.get(part, {}) for part in share).items()
                if attribute.value != REMOVED
            },
            activities[profile],
        )
        for profile, share in parts.items()
    ]
