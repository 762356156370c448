"""What the contract says of the identity graph, as plainly as it can be said, to hold the decisions against.

Profiles are objects with sets of identifiers, a merge moves everything, and tombstones are a list. It is slow, knows
nothing of keys, labels to load, counters or changes, and shares nothing with the decisions but their names for things.
"""

from dataclasses import dataclass, field
from typing import Self

from aka.server.domain.alias import Alias
from aka.server.domain.create_aliases import CreateAlias
from aka.server.domain.delete_alias import DeleteAlias
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.domain.identify import Identify
from aka.server.domain.import_link import ImportLink
from aka.server.domain.joining import Joining
from aka.v1 import alias_service_pb2 as v1

Command = Alias | Identify | CreateAlias | DeleteAlias | ImportLink


class Refused(Exception):
    """The contract's name for why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False)
class Profile:
    """One person."""

    created_at: int
    id: ProfileId | None = None
    """What the service called it; None until the service has."""
    primary: Identifier | None = None
    identifiers: set[Identifier] = field(default_factory=set)
    anonymous_ids: set[Identifier] = field(default_factory=set)

    @property
    def identified(self) -> bool:
        return self.primary is not None

    @property
    def labels(self) -> list[str]:
        return [identifier.label for identifier in self.identifiers if identifier.label]

    def copy(self) -> "Profile":
        return Profile(self.created_at, self.id, self.primary, self.identifiers.copy(), self.anonymous_ids.copy())


@dataclass(eq=False)
class Tombstone:
    """A profile that was merged away."""

    profile: Profile
    into: Profile
    orphaned: bool


@dataclass
class Answer:
    """What a command did, and to whom."""

    outcome: v1.Outcome.ValueType
    profile: Profile
    user_id: str
    merged: Profile | None = None


@dataclass
class Model:
    """A whole workspace."""

    most: int
    reserved: frozenset[str]
    now: int = 0
    profiles: list[Profile] = field(default_factory=list)
    tombstones: list[Tombstone] = field(default_factory=list)

    def copy(self) -> Self:
        """Return another model in the same state."""
        return self.twin()[0]

    def twin(self) -> tuple[Self, dict[Profile, Profile]]:
        """Return another model in the same state, and which of its profiles stands for which of this one's."""
        everybody = *self.profiles, *(tombstone.profile for tombstone in self.tombstones)
        twins = {profile: profile.copy() for profile in everybody}
        profiles = [twins[profile] for profile in self.profiles]
        tombstones = [Tombstone(twins[dead.profile], twins[dead.into], dead.orphaned) for dead in self.tombstones]
        return type(self)(self.most, self.reserved, self.now, profiles, tombstones), twins

    def find(self, key: Key) -> Profile | None:
        """Return whose an identifier or a profile id is."""
        for profile in self.profiles:
            if key in profile.identifiers or key == profile.id:
                return profile
        for tombstone in self.tombstones:
            if key == tombstone.profile.id:
                return self._survivor(tombstone.into)
        return None

    def _survivor(self, profile: Profile) -> Profile:
        for tombstone in self.tombstones:
            if tombstone.profile is profile:
                return self._survivor(tombstone.into)
        return profile

    def tombstones_of(self, survivor: Profile) -> list[Profile]:
        """Return the profiles that were merged into one, directly or not, in the order of those merges."""
        return [dead.profile for dead in self.tombstones if self._survivor(dead.into) is survivor]

    def run(self, command: Command) -> Answer | Profile | None:
        """Do what a command asks for, or raise Refused and do nothing."""
        match command:
            case Alias():
                return self.alias(command)
            case Identify():
                return self.identify(command)
            case CreateAlias():
                return self.create_alias(command)
            case DeleteAlias():
                return self.delete_alias(command)
            case ImportLink():
                self.copy().import_link(command)  # which may refuse it half-way
                return self.import_link(command)

    def alias(self, asked: Alias) -> Answer:
        user, alias = asked.user, asked.alias
        if user == alias:
            raise Refused("SELF_ALIAS")
        mine, theirs = self.find(user), self.find(alias)
        if mine is None:
            if not isinstance(user, Identifier):
                raise Refused("PROFILE_NOT_FOUND")
            if not asked.create_missing:
                raise Refused("USER_NOT_FOUND")
            self._refuse_reserved(user)
        elif mine is theirs:
            return _answer(v1.OUTCOME_ALREADY_LINKED, mine)
        if theirs is None:
            self._refuse_reserved(alias)
            if mine is not None:
                self._link(mine, alias)
                return _answer(v1.OUTCOME_LINKED, mine)
            assert isinstance(user, Identifier)
            return _answer(v1.OUTCOME_CREATED, self._make(user, alias, primary=user))
        if asked.policy == v1.MERGE_POLICY_NEVER:
            raise Refused("ALIAS_TAKEN")
        both_identified = theirs.identified and (mine is None or mine.identified)
        if both_identified and asked.policy != v1.MERGE_POLICY_ALWAYS:
            raise Refused("IDENTIFIED_PROFILE")
        if mine is None:
            assert isinstance(user, Identifier)
            self._link(theirs, user)
            if theirs.identified:
                return _answer(v1.OUTCOME_LINKED, theirs)
            theirs.primary = user
            return _answer(v1.OUTCOME_IDENTIFIED, theirs)
        if both_identified and not asked.may_merge:
            raise Refused("PERMISSION_MISSING")
        survivor, loser = (theirs, mine) if theirs.identified and not mine.identified else (mine, theirs)
        self._merge(loser, survivor, orphaned=False)
        return _answer(v1.OUTCOME_MERGED, survivor, loser)

    def identify(self, asked: Identify) -> Answer:
        external, subject = asked.external, asked.subject
        if external == subject:
            raise Refused("SELF_ALIAS")
        own, other = self.find(external), None if subject is None else self.find(subject)
        by_pair = subject is not None and bool(subject.label)
        if by_pair and other is None:
            raise Refused("ALIAS_NOT_FOUND")
        if other is not None and other is not own and other.identified:
            raise Refused("ALREADY_IDENTIFIED")
        if own is None:
            self._refuse_reserved(external)
        if subject is not None and other is None:
            self._refuse_reserved(subject)

        if own is None and other is None:
            anonymous_ids = {subject} if subject is not None else set()
            made = self._make(external, *anonymous_ids, primary=external)
            made.anonymous_ids = anonymous_ids
            return _answer(v1.OUTCOME_CREATED, made)
        if own is None:
            assert other is not None
            self._link(other, external)
            self._become_primary(other, external)
            return _answer(v1.OUTCOME_IDENTIFIED, other)
        loser, outcome = None, v1.OUTCOME_ALREADY_LINKED
        if subject is not None and other is None:
            self._link(own, subject)
            own.anonymous_ids.add(subject)
            outcome = v1.OUTCOME_LINKED
        elif other is not None and other is not own:
            self._merge(other, own, orphaned=by_pair and asked.orphan)
            loser, outcome = other, v1.OUTCOME_MERGED
        if not own.identified:
            self._become_primary(own, external)
            outcome = v1.OUTCOME_IDENTIFIED if loser is None else outcome
        return _answer(outcome, own, loser)

    def create_alias(self, asked: CreateAlias) -> Answer:
        external, alias = asked.external, asked.alias
        if external == alias:
            raise Refused("SELF_ALIAS")
        theirs = self.find(alias)
        if external is None:
            if theirs is not None:
                return _answer(v1.OUTCOME_ALREADY_LINKED, theirs)
            self._refuse_reserved(alias)
            profile, outcome = self._make(alias), v1.OUTCOME_CREATED
        else:
            user = self.find(external)
            if user is None:
                raise Refused("USER_NOT_FOUND")
            if user is theirs:
                return _answer(v1.OUTCOME_ALREADY_LINKED, user)
            if theirs is not None:
                raise Refused("ALIAS_TAKEN")
            self._refuse_reserved(alias)
            self._link(user, alias)
            profile, outcome = user, v1.OUTCOME_LINKED
        if not alias.label:
            profile.anonymous_ids.add(alias)
        return _answer(outcome, profile)

    def delete_alias(self, asked: DeleteAlias) -> Profile | None:
        profile = self.find(asked.alias)
        if profile is None:
            if asked.allow_missing:
                return None
            raise Refused("ALIAS_NOT_FOUND")
        if asked.profile_id is not None and self.find(asked.profile_id) is not profile:
            raise Refused("NOT_ON_PROFILE")
        if profile.primary == asked.alias:
            raise Refused("PRIMARY_IDENTIFIER")
        if len(profile.identifiers) == 1:
            raise Refused("LAST_IDENTIFIER")
        profile.identifiers.remove(asked.alias)
        profile.anonymous_ids.discard(asked.alias)
        return profile

    def import_link(self, asked: ImportLink) -> Answer:
        user, alias = asked.user, asked.alias
        if user is not None and user == alias:
            raise Refused("SELF_ALIAS")
        known = None if user is None else self.find(user)
        theirs = None if alias is None else self.find(alias)
        if known is not None and known.identified and (alias is None or theirs is known):
            return _answer(v1.OUTCOME_ALREADY_LINKED, known)
        named = None if asked.profile_id is None else self.find(asked.profile_id)
        if known is not None and named is not None and known is not named:
            raise Refused("NOT_ON_PROFILE")
        owner, outcome = known or named, v1.OUTCOME_ALREADY_LINKED

        if owner is None and theirs is not None:
            if user is not None:
                self._refuse_by_policy(asked.joining, both_identified=theirs.identified)
            elif asked.profile_id is not None:
                raise Refused("ALIAS_TAKEN")
            owner = theirs
        if owner is None:
            identifiers = [each for each in (user, alias) if each is not None]
            for identifier in identifiers:
                self._refuse_reserved(identifier)
            owner, outcome = self._make(*identifiers, primary=user), v1.OUTCOME_CREATED
            owner.id = asked.profile_id
            if alias is not None and asked.anonymous:
                owner.anonymous_ids.add(alias)
            return _answer(outcome, owner)
        if user is not None and known is None:
            if owner is named and owner.identified and asked.joining.policy != v1.MERGE_POLICY_ALWAYS:
                raise Refused("IDENTIFIED_PROFILE")
            self._refuse_reserved(user)
            self._link(owner, user)
            outcome = v1.OUTCOME_LINKED
        if user is not None and not owner.identified:
            self._become_primary(owner, user)
            outcome = v1.OUTCOME_IDENTIFIED
        if alias is None or theirs is owner:
            return _answer(outcome, owner)
        if theirs is None:
            self._refuse_reserved(alias)
            self._link(owner, alias)
            if asked.anonymous:
                owner.anonymous_ids.add(alias)
            return _answer(v1.OUTCOME_LINKED if outcome == v1.OUTCOME_ALREADY_LINKED else outcome, owner)
        both_identified = owner.identified and theirs.identified
        self._refuse_by_policy(asked.joining, both_identified=both_identified)
        if both_identified and not asked.joining.may_merge:
            raise Refused("PERMISSION_MISSING")
        survivor, loser = (theirs, owner) if theirs.identified and not owner.identified else (owner, theirs)
        self._merge(loser, survivor, orphaned=False)
        return _answer(v1.OUTCOME_MERGED, survivor, loser)

    def _refuse_by_policy(self, joining: Joining, *, both_identified: bool) -> None:
        if joining.policy == v1.MERGE_POLICY_NEVER:
            raise Refused("ALIAS_TAKEN")
        if both_identified and joining.policy != v1.MERGE_POLICY_ALWAYS:
            raise Refused("IDENTIFIED_PROFILE")

    def _make(self, *identifiers: Identifier, primary: Identifier | None = None) -> Profile:
        profile = Profile(self.now, primary=primary, identifiers=set(identifiers))
        self.profiles.append(profile)
        return profile

    def _link(self, profile: Profile, identifier: Identifier) -> None:
        if identifier.label in profile.labels:
            raise Refused("LABEL_TAKEN")
        self._refuse_too_many(len(profile.identifiers) + 1 + len(self.tombstones_of(profile)))
        profile.identifiers.add(identifier)

    def _become_primary(self, profile: Profile, identifier: Identifier) -> None:
        profile.primary = identifier
        profile.anonymous_ids.discard(identifier)

    def _merge(self, loser: Profile, survivor: Profile, *, orphaned: bool) -> None:
        if set(loser.labels) & set(survivor.labels):
            raise Refused("LABEL_TAKEN")
        both = loser, survivor
        self._refuse_too_many(sum(len(profile.identifiers) + len(self.tombstones_of(profile)) for profile in both) + 1)
        survivor.identifiers |= loser.identifiers
        survivor.anonymous_ids |= loser.anonymous_ids
        if not orphaned:
            survivor.created_at = min(survivor.created_at, loser.created_at)
        self.profiles.remove(loser)
        self.tombstones.append(Tombstone(loser, survivor, orphaned))

    def _refuse_reserved(self, identifier: Identifier) -> None:
        if not identifier.label and identifier.name in self.reserved:
            raise Refused("RESERVED_IDENTIFIER")

    def _refuse_too_many(self, count: int) -> None:
        if count > self.most:
            raise Refused("TOO_MANY_IDENTIFIERS")


def _answer(outcome: v1.Outcome.ValueType, profile: Profile, merged: Profile | None = None) -> Answer:
    return Answer(outcome, profile, profile.primary.name if profile.primary else "", merged)
