"""Track: put attributes, push tokens, an event, a purchase or a message on a profile."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from aka.server.domain.changes import Change, Created
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, Key, ProfileId, uuid_text
from aka.server.domain.profile_data import REMOVED, Activity, Attribute, Holdings, Kind, PushToken, Tracked
from aka.server.domain.rules import Rules
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1

MAX_ATTRIBUTES: Final = 65536
"""Bytes of a profile's attributes, names and JSON."""
MAX_PUSH_TOKENS: Final = 100
MAX_ACTIVITIES: Final = 10_000


class Subject(NamedTuple):
    """Whom an item is about."""

    key: Key
    field: str
    """What the item names them by: `external_id`, `user_alias`, `anonymous_id` or `profile_id`."""
    existing_only: bool
    """Make no profile where there is none."""

    def profile(self, graph: Graph, rules: Rules) -> tuple[ProfileId, Holdings, tuple[Change, ...]]:
        """Return the profile with what it holds, and the change that makes it where there is none.

        USER_NOT_FOUND, ALIAS_NOT_FOUND or PROFILE_NOT_FOUND where it is not there and is not to be made.
        """
        found = graph.find(self.key)
        if found is not None:
            return found.id, graph.holdings(found.id), ()
        if not isinstance(self.key, Identifier):
            why = "No profile has this profile_id"
            raise AkaError(v1.ERROR_REASON_PROFILE_NOT_FOUND, why, profile_id=uuid_text(self.key))
        if self.existing_only:
            reason = v1.ERROR_REASON_USER_NOT_FOUND if self.key.is_id else v1.ERROR_REASON_ALIAS_NOT_FOUND
            raise AkaError(reason, f"No profile has this {self.field}, and update_existing_only makes none")
        rules.refuse_reserved(self.key, self.field)
        profile = graph.new_profile_id()
        primary, anonymous = self.field == "external_id", self.field == "anonymous_id"
        return profile, Holdings(), (Created(profile, self.key, primary, anonymous),)


class TrackAttributes(NamedTuple):
    """Set attributes of a profile, and add push tokens to it.

    A value whose `at` is older than the stored one's is passed over. Those of `once` are set where there is none.
    TOO_MUCH_DATA where the profile would hold more than it may.
    """

    subject: Subject
    attributes: Mapping[str, str]
    """JSON values by name."""
    once: Mapping[str, str]
    push_tokens: tuple[PushToken, ...]
    at: int | None
    """Since when they are so; None: now."""
    rules: Rules

    @property
    def keys(self) -> tuple[Key, ...]:
        """The subject."""
        return (self.subject.key,)

    @property
    def labels_of(self) -> None:
        """None: a profile that is made has no more than one label."""

    def decide(self, graph: Graph) -> tuple[ProfileId, tuple[Change | Tracked, ...]]:
        """Return the profile and the changes."""
        profile, holds, created = self.subject.profile(graph, self.rules)
        return profile, (*created, self.put(profile, holds, graph.now))

    def put(self, profile: ProfileId, holds: Holdings, now: int) -> Tracked:
        """Return what changes on a profile that holds this."""
        at = now if self.at is None else min(self.at, now)
        new = {name: Attribute(value, at) for name, value in self.attributes.items() if self._is_newer(holds, name)}
        for name, value in self.once.items():
            if (new.get(name) or holds.attributes.get(name) or _NONE).value == REMOVED:
                new[name] = Attribute(value, at)
        if new:
            most = max(MAX_ATTRIBUTES, _size(holds.attributes))  # a merge may have brought more
            _refuse_beyond(_size(holds.attributes | new), most, "bytes of attributes", profile)
        tokens = holds.push_tokens | {(token.app_id, token.token) for token in self.push_tokens}
        _refuse_beyond(len(tokens), MAX_PUSH_TOKENS, "push tokens", profile)
        return Tracked(profile, new, self.push_tokens)

    def _is_newer(self, holds: Holdings, name: str) -> bool:
        stored = holds.attributes.get(name)
        return self.at is None or stored is None or self.at >= stored.at


class TrackActivity(NamedTuple):
    """Put an event, a purchase or a message on a profile; TOO_MUCH_DATA where it holds as many as it may."""

    subject: Subject
    kind: Kind
    at: int | None
    """When it was; None: now."""
    name: str
    details: str
    """A JSON object."""
    rules: Rules

    @property
    def keys(self) -> tuple[Key, ...]:
        """The subject."""
        return (self.subject.key,)

    @property
    def labels_of(self) -> None:
        """None: a profile that is made has no more than one label."""

    def decide(self, graph: Graph) -> tuple[ProfileId, tuple[Change | Tracked, ...]]:
        """Return the profile and the changes."""
        profile, holds, created = self.subject.profile(graph, self.rules)
        number = holds.activities + 1
        _refuse_beyond(number, MAX_ACTIVITIES, "events, purchases and messages", profile)
        activity = Activity(self.kind, graph.now if self.at is None else self.at, self.name, self.details)
        return profile, (*created, Tracked(profile, {}, (), activity, number))


_NONE: Final = Attribute(REMOVED, 0)


def _size(attributes: Mapping[str, Attribute]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, (value, _) in attributes.items())


def _refuse_beyond(amount: int, most: int, what: str, on: ProfileId) -> None:
    if amount > most:
        raise AkaError(
            v1.ERROR_REASON_TOO_MUCH_DATA,
            f"The profile would hold {amount} {what}; {most} are allowed",
            profile_id=uuid_text(on),
            amount=str(amount),
            maximum=str(most),
        )
