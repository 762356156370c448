"""The part of the identity graph that some decisions reach, and how a change folds into it."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeVar

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged, Unlinked
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.domain.profile_data import Holdings, Tracked, join

T_co = TypeVar("T_co", covariant=True)

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class Link(NamedTuple):
    """Where an identifier was linked, and when (microseconds since the epoch)."""

    origin: ProfileId
    anonymous: bool
    linked_at: int


class Profile(NamedTuple):
    """A living profile's header: all that a rule asks of it but its labels."""

    id: ProfileId
    primary: str | None
    """The primary id; None while the profile is anonymous."""
    identifiers: int
    user_aliases: int
    """How many of the identifiers are user aliases."""
    tombstones: int
    created_at: int
    updated_at: int

    @property
    def identified(self) -> bool:
        """Whether it has a primary id."""
        return self.primary is not None


class Missing(Exception):
    """A decision needs the labels of a profile, or what it holds; load them and run it again."""

    def __init__(self, profile: ProfileId, *, holdings: bool = False) -> None:
        super().__init__(profile, holdings)
        self.profile = profile
        self.holdings = holdings


class Decision(Protocol[T_co]):
    """One pure step: keys to load, and a function from the graph to an answer and the changes that it wants.

    It may run again, alone or beside others. What it raises as AkaError is its answer, and changes nothing.
    """

    @property
    def keys(self) -> tuple[Key, ...]:
        """All that it will look up."""
        ...

    @property
    def labels_of(self) -> Identifier | None:
        """The identifier whose profile's labels it will probably ask for."""
        ...

    def decide(self, graph: "Graph") -> tuple[T_co, tuple[Change | Tracked, ...]]:
        """Return the answer and the changes."""
        ...


class Graph:
    """What some keys reach, as last committed, with the changes of the decisions so far folded in.

    The store adds what it loaded (`add_*`), decisions look up (`find`, `link_of`, `labels`, `holdings`), and `fold`
    makes a decision's changes visible to the next. What was touched stays on record for the store to write. Asking
    for a key that was not loaded is a bug and raises KeyError; it never means "free".
    """

    __slots__ = (
        "_absorbed",
        "_holdings",
        "_labels",
        "_links",
        "_new_id",
        "_parts",
        "_profiles",
        "_survivors",
        "_unlinked",
        "changes",
        "made",
        "now",
        "tracked",
    )

    def __init__(self, now: int, new_profile_id: Callable[[], ProfileId]) -> None:
        self.now = now
        """The time of all that the group does, in microseconds since the epoch."""
        self.changes: list[Change] = []
        """All that was folded in, in order, but `tracked`."""
        self.tracked: list[Tracked] = []
        """The data that was folded in, in order."""
        self.made: set[ProfileId] = set()
        """The profiles that were made since the graph was loaded."""
        self._new_id = new_profile_id
        self._links: dict[Identifier, Link | None] = {}
        self._survivors: dict[ProfileId, ProfileId | None] = {}
        self._profiles: dict[ProfileId, Profile] = {}
        self._labels: dict[ProfileId, dict[str, str]] = {}
        self._unlinked: set[Identifier] = set()
        self._parts: dict[ProfileId, tuple[ProfileId, ...]] = {}
        self._absorbed: dict[ProfileId, tuple[ProfileId, ...]] = {}
        self._holdings: dict[ProfileId, Holdings] = {}

    # What the store loads.

    def add_free(self, keys: Iterable[Key]) -> None:
        """Say which keys are nobody's, of those that `add_link` and `add_profile` did not name."""
        for key in keys:
            if isinstance(key, Identifier):
                self._links.setdefault(key, None)
            else:
                self._survivors.setdefault(key, None)

    def add_link(self, identifier: Identifier, link: Link, survivor: Profile) -> None:
        """Say where an identifier is linked, and the header of the profile that it resolves to."""
        self._links[identifier] = link
        self.add_profile(link.origin, survivor)

    def add_profile(self, profile_id: ProfileId, survivor: Profile) -> None:
        """Say which profile a profile id resolves to."""
        self._survivors[profile_id] = survivor.id
        self._survivors[survivor.id] = survivor.id
        self._profiles[survivor.id] = survivor

    def add_labels(self, profile_id: ProfileId, user_aliases: Iterable[Identifier]) -> None:
        """Say which user aliases the profiles `parts(profile_id)` have in the store."""
        known = self._labels.setdefault(profile_id, {})
        for user_alias in user_aliases:
            if user_alias not in self._unlinked:
                known.setdefault(user_alias.label, user_alias.name)

    def add_holdings(self, profile_id: ProfileId, holdings: Holdings) -> None:
        """Say what a profile that lives in the store holds there."""
        self._holdings.setdefault(profile_id, holdings)

    def without_holdings(self, keys: Iterable[Key]) -> list[ProfileId]:
        """Return the profiles whose holdings are not loaded, of those that the keys' profiles consist of."""
        found = (profile for key in keys if (profile := self.find(key)) is not None)
        parts = dict.fromkeys(part for profile in found for part in self._sharing(profile.id))
        return [part for part in parts if part not in self._holdings and part not in self.made]

    def parts(self, profile_id: ProfileId) -> tuple[ProfileId, ...]:
        """Return the profiles, as the store has them, that the living profile consists of by now."""
        return self._parts.get(profile_id, (profile_id,))

    # What decisions ask.

    def find(self, key: Key) -> Profile | None:
        """Return the living profile that a key resolves to; None where the key is nobody's."""
        if isinstance(key, Identifier):
            link = self._links[key]
            return None if link is None else self._profiles[self._survivor(link.origin)]
        return None if self._survivors[key] is None else self._profiles[self._survivor(key)]

    def link_of(self, identifier: Identifier) -> Link | None:
        """Return where an identifier is linked; None where it is free."""
        return self._links[identifier]

    def living(self, profile_id: ProfileId) -> Profile | None:
        """Return the header of a loaded profile; None where it is a tombstone."""
        return self._profiles.get(profile_id)

    def labels(self, profile: Profile) -> Mapping[str, str]:
        """Return the names by label of a profile's user aliases; Missing where they are not all loaded."""
        known = self._labels.get(profile.id, _NO_LABELS)
        if len(known) != profile.user_aliases:  # a profile has one name a label, so the count tells
            raise Missing(profile.id)
        return known

    def holdings(self, profile_id: ProfileId) -> Holdings:
        """Return what a living profile holds; Missing where it is not all loaded."""
        own, *others = map(self._held, self._sharing(profile_id))
        if not others:
            return own
        attributes = join([own.attributes, *(other.attributes for other in others)])
        return Holdings(attributes, own.push_tokens, own.activities)

    def new_profile_id(self) -> ProfileId:
        """Return an id for a profile that a decision wants made."""
        return self._new_id()

    # What the store does with a decision's changes.

    def fold(self, change: Change | Tracked) -> None:
        """Make a change visible to the decisions that follow, and put it on record."""
        if isinstance(change, Created):
            self._create(change)
        elif isinstance(change, Linked):
            self._link(*change)
        elif isinstance(change, Unlinked):
            self._unlink(change.profile, change.identifier)
        elif isinstance(change, Identified):
            self._identify(change.profile, change.identifier)
        elif isinstance(change, Merged):
            self._merge(self._profiles.pop(change.loser), self._profiles[change.survivor], orphaned=change.orphaned)
        else:
            self._held(change.profile).put(change)
            self.tracked.append(change)
            return
        self.changes.append(change)

    def trial(self) -> "Graph":
        """Return a copy that can be folded into and thrown away."""
        copy = Graph(self.now, self._new_id)
        copy._links = self._links.copy()
        copy._survivors = self._survivors.copy()
        copy._profiles = self._profiles.copy()
        copy._labels = {profile: names.copy() for profile, names in self._labels.items()}
        copy._unlinked = self._unlinked.copy()
        copy._parts = self._parts.copy()
        copy._absorbed = self._absorbed.copy()
        copy._holdings = {profile: Holdings() for profile in self.made}
        copy._holdings.update({profile: held.copy() for profile, held in self._holdings.items()})
        return copy

    def _sharing(self, profile_id: ProfileId) -> tuple[ProfileId, ...]:
        """Return the profiles, as the store has them, whose attributes are a living profile's by now."""
        return self._absorbed.get(profile_id, (profile_id,))

    def _held(self, profile_id: ProfileId) -> Holdings:
        """Return what a profile holds without those that the group merged into it."""
        if profile_id in self.made:
            return self._holdings.setdefault(profile_id, Holdings())
        if profile_id not in self._holdings:
            raise Missing(profile_id, holdings=True)
        return self._holdings[profile_id]

    def _survivor(self, profile_id: ProfileId) -> ProfileId:
        while (survivor := self._survivors[profile_id]) != profile_id:
            assert survivor is not None, "an origin is always loaded with its profile"
            profile_id = survivor
        return profile_id

    def _create(self, created: Created) -> None:
        profile, identifier, primary, anonymous = created
        self._survivors[profile] = profile
        self._parts[profile] = ()
        self.made.add(profile)
        now, (label, name) = self.now, identifier
        self._links[identifier] = Link(profile, anonymous, now)
        if label:
            self._labels[profile] = {label: name}
        self._profiles[profile] = Profile(profile, name if primary else None, 1, 1 if label else 0, 0, now, now)

    def _link(self, profile: ProfileId, identifier: Identifier, anonymous: bool) -> None:
        self._links[identifier] = Link(profile, anonymous, self.now)
        if identifier.label:
            self._labels.setdefault(profile, {})[identifier.label] = identifier.name
        self._count(profile, identifier, 1)

    def _unlink(self, profile: ProfileId, identifier: Identifier) -> None:
        self._links[identifier] = None
        if identifier.label:
            self._unlinked.add(identifier)
            if known := self._labels.get(profile):
                known.pop(identifier.label, None)
        self._count(profile, identifier, -1)

    def _count(self, profile: ProfileId, identifier: Identifier, by: int) -> None:
        _, primary, identifiers, user_aliases, tombstones, created_at, _ = self._profiles[profile]
        if identifier.label:
            user_aliases += by
        self._profiles[profile] = Profile(
            profile, primary, identifiers + by, user_aliases, tombstones, created_at, self.now
        )

    def _identify(self, profile: ProfileId, identifier: Identifier) -> None:
        link = self._links[identifier]
        assert link is not None, "only an identifier of the profile becomes its primary id"
        self._links[identifier] = link._replace(anonymous=False)
        self._profiles[profile] = self._profiles[profile]._replace(primary=identifier.name, updated_at=self.now)

    def _merge(self, loser: Profile, survivor: Profile, *, orphaned: bool) -> None:
        self._survivors[loser.id] = survivor.id
        self._profiles[survivor.id] = Profile(
            survivor.id,
            survivor.primary,
            survivor.identifiers + loser.identifiers,
            survivor.user_aliases + loser.user_aliases,
            survivor.tombstones + loser.tombstones + 1,
            survivor.created_at if orphaned else min(survivor.created_at, loser.created_at),
            self.now,
        )
        self._parts[survivor.id] = self.parts(survivor.id) + self.parts(loser.id)
        if not orphaned:
            self._absorbed[survivor.id] = self._sharing(survivor.id) + self._sharing(loser.id)
        if names := self._labels.pop(loser.id, None):
            self._labels.setdefault(survivor.id, {}).update(names)
