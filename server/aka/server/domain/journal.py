"""The journal's changes summed up: the whole graph from them alone, and each taken back exactly."""

from dataclasses import dataclass, field
from typing import NamedTuple

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged, Unlinked
from aka.server.domain.graph import Link
from aka.server.domain.identifiers import Identifier, ProfileId


@dataclass(slots=True)
class Record:
    """A profile as the journal tells it, living or a tombstone."""

    primary: str | None
    created_at: int
    updated_at: int
    parent: ProfileId | None = None
    """The profile that it was merged into; None while it lives."""
    orphaned: bool = False


class Counts(NamedTuple):
    """What hangs on a living profile."""

    identifiers: int = 0
    user_aliases: int = 0
    tombstones: int = 0


@dataclass(slots=True)
class History:
    """The graph that a journal adds up to, one workspace's. Holds all of it in memory."""

    links: dict[Identifier, Link] = field(default_factory=dict)
    profiles: dict[ProfileId, Record] = field(default_factory=dict)

    def apply(self, change: Change, at: int) -> None:
        """Make a change that was made `at` (microseconds since the epoch).

        ValueError where it cannot follow those before it, or where taking it back would not restore what they made.
        """
        if not self._fits(change):
            raise ValueError(change)
        match change:
            case Created(profile, identifier, primary, anonymous):
                self.profiles[profile] = Record(identifier.name if primary else None, at, at)
                self.links[identifier] = Link(profile, anonymous, at)
            case Linked(profile, identifier, anonymous):
                self.links[identifier] = Link(profile, anonymous, at)
                self.profiles[profile].updated_at = at
            case Unlinked(profile, identifier):
                del self.links[identifier]
                self.profiles[profile].updated_at = at
            case Identified(profile, identifier):
                self.links[identifier] = self.links[identifier]._replace(anonymous=False)
                self.profiles[profile].primary = identifier.name
                self.profiles[profile].updated_at = at
            case Merged(loser, survivor, _, loser_created_at, survivor_created_at, orphaned):
                lost, kept = self.profiles[loser], self.profiles[survivor]
                lost.primary, lost.parent, lost.orphaned, lost.updated_at = None, survivor, orphaned, at
                kept.updated_at = at
                if not orphaned:
                    kept.created_at = min(loser_created_at, survivor_created_at)

    def take_back(self, change: Change) -> None:
        """Undo a change, the newest that has not been undone. Only `updated_at` keeps its value."""
        match change:
            case Created(profile, identifier):
                del self.links[identifier], self.profiles[profile]
            case Linked(_, identifier):
                del self.links[identifier]
            case Unlinked(_, identifier, origin, anonymous, linked_at):
                self.links[identifier] = Link(origin, anonymous, linked_at)
            case Identified(profile, identifier, anonymous):
                self.links[identifier] = self.links[identifier]._replace(anonymous=anonymous)
                self.profiles[profile].primary = None
            case Merged(loser, survivor, loser_primary, _, survivor_created_at):
                lost = self.profiles[loser]
                lost.primary, lost.parent, lost.orphaned = loser_primary, None, False
                self.profiles[survivor].created_at = survivor_created_at

    def _fits(self, change: Change) -> bool:
        """Whether a change can follow, and tells truly of what it takes away."""
        match change:
            case Created(profile, identifier):
                return profile not in self.profiles and identifier not in self.links
            case Linked(profile, identifier):
                return self._lives(profile) and identifier not in self.links
            case Unlinked(profile, identifier, origin, anonymous, linked_at):
                return self._whose(identifier) == profile and self.links[identifier] == (origin, anonymous, linked_at)
            case Identified(profile, identifier, anonymous):
                return (
                    self._whose(identifier) == profile
                    and self.profiles[profile].primary is None
                    and self.links[identifier].anonymous == anonymous
                )
            case Merged(loser, survivor, loser_primary, loser_created_at, survivor_created_at):
                if loser == survivor or not (self._lives(loser) and self._lives(survivor)):
                    return False
                lost, kept = self.profiles[loser], self.profiles[survivor]
                found = lost.primary, lost.created_at, kept.created_at
                return found == (loser_primary, loser_created_at, survivor_created_at)

    def _lives(self, profile: ProfileId) -> bool:
        record = self.profiles.get(profile)
        return record is not None and record.parent is None

    def _whose(self, identifier: Identifier) -> ProfileId | None:
        """Return the living profile that an identifier is on; None where it is free."""
        link = self.links.get(identifier)
        if link is None:
            return None
        profile = link.origin
        while (parent := self.profiles[profile].parent) is not None:
            profile = parent
        return profile

    def survivors(self) -> dict[ProfileId, ProfileId]:
        """Return the living profile that each profile leads to."""
        survivors: dict[ProfileId, ProfileId] = {}
        for profile in self.profiles:
            path = []
            while profile not in survivors:
                parent = self.profiles[profile].parent
                if parent is None:
                    survivors[profile] = profile
                else:
                    path.append(profile)
                    profile = parent
            for tombstone in path:
                survivors[tombstone] = survivors[profile]
        return survivors

    def counts(self) -> dict[ProfileId, Counts]:
        """Return what hangs on each living profile; nothing hangs on a tombstone."""
        survivors = self.survivors()
        identifiers = dict.fromkeys(self.profiles, 0)
        user_aliases = dict.fromkeys(self.profiles, 0)
        tombstones = dict.fromkeys(self.profiles, 0)
        for identifier, link in self.links.items():
            survivor = survivors[link.origin]
            identifiers[survivor] += 1
            user_aliases[survivor] += not identifier.is_id
        for profile, survivor in survivors.items():
            tombstones[survivor] += profile != survivor
        return {
            profile: Counts(identifiers[profile], user_aliases[profile], tombstones[profile])
            for profile in self.profiles
        }
