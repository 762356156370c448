"""A store in memory for the domain's tests: three dicts, and no key loaded but those that the decisions declare."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import pytest

from aka.server.domain.alias import Alias
from aka.server.domain.changes import Change, Created, Merged
from aka.server.domain.create_aliases import CreateAlias
from aka.server.domain.delete_alias import DeleteAlias
from aka.server.domain.graph import Decision, Graph, Link, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId, id_of
from aka.server.domain.identify import Identify, IdentifyWithAttributes
from aka.server.domain.import_link import ImportLink
from aka.server.domain.joining import Joining
from aka.server.domain.profile_data import (
    Attribute,
    Holdings,
    Kind,
    PushToken,
    Share,
    StoredActivity,
    StoredData,
    Tombstone,
    Tracked,
    join,
    share_out,
    shares,
)
from aka.server.domain.rules import Rules
from aka.server.domain.track import Subject, TrackActivity, TrackAttributes
from aka.server.errors import AkaError
from aka.server.store.deciding import Call, Lack, decide
from aka.server.store.store import Caller, Once, Workspace
from aka.v1 import alias_service_pb2 as v1

T = TypeVar("T")

RULES: Final = Rules()


def profile_id(number: int) -> ProfileId:
    """Return a profile id; a world gives them from 1 on."""
    return ProfileId(number.to_bytes(16))


UNKNOWN: Final = profile_id(0)
"""A profile id that no world gives."""


def call(*decisions: Decision[Any], validate_only: bool = False, once: Once | None = None) -> Call:
    """Return one caller's decisions: a batch, where there are several."""
    return Call.of(Workspace(1), decisions, Caller(b"key", "request", validate_only=validate_only, once=once))


class World:
    """The identity graph in the stored shape: a link names its origin, each profile names its survivor."""

    def __init__(self) -> None:
        self.now = 1000
        self.preloads = True
        """Whether labels that a decision will probably ask for are loaded before it asks."""
        self.links: dict[Identifier, Link] = {}
        self.survivors: dict[ProfileId, ProfileId] = {}
        self.headers: dict[ProfileId, Profile] = {}
        self.journal: list[tuple[int, Change]] = []
        self.tracked: list[Tracked] = []
        """The data that was put on profiles, in order."""
        self._given_ids = 0

    @property
    def state(self) -> tuple[dict[Identifier, Link], dict[ProfileId, ProfileId], dict[ProfileId, Profile]]:
        """All that is stored."""
        return self.links.copy(), self.survivors.copy(), self.headers.copy()

    def copy(self) -> Self:
        """Return another world in the same state."""
        world = type(self)()
        world.now, world._given_ids = self.now, self._given_ids
        world.links, world.survivors, world.headers = self.state
        return world

    # What tests begin with.

    def identified(self, primary: str, *others: str | Identifier) -> ProfileId:
        """Store a profile with a primary id and other ids and user aliases."""
        return self._given(primary, [id_of(primary), *map(_identifier, others)], anonymous=False)

    def anonymous(self, *identifiers: str | Identifier) -> ProfileId:
        """Store a profile without a primary id; its ids are anonymous ids."""
        return self._given(None, [_identifier(identifier) for identifier in identifiers], anonymous=True)

    def tombstone(self, survivor: ProfileId, *identifiers: str | Identifier) -> ProfileId:
        """Store a profile with ids and user aliases that was merged into another."""
        loser = self._given(None, [_identifier(identifier) for identifier in identifiers], anonymous=False)
        lost, kept = self.headers.pop(loser), self.headers[survivor]
        self.survivors[loser] = survivor
        self.headers[survivor] = kept._replace(
            identifiers=kept.identifiers + lost.identifiers,
            user_aliases=kept.user_aliases + lost.user_aliases,
            tombstones=kept.tombstones + 1,
        )
        return loser

    def _given(self, primary: str | None, identifiers: Collection[Identifier], *, anonymous: bool) -> ProfileId:
        self.now += 1
        profile = self._new_profile_id()
        user_aliases = sum(not identifier.is_id for identifier in identifiers)
        self.survivors[profile] = profile
        self.headers[profile] = Profile(profile, primary, len(identifiers), user_aliases, 0, self.now, self.now)
        for identifier in identifiers:
            assert identifier not in self.links, "an identifier names one profile"
            self.links[identifier] = Link(profile, anonymous and identifier.is_id, self.now)
        return profile

    def _new_profile_id(self) -> ProfileId:
        self._given_ids += 1
        return profile_id(self._given_ids)

    # What they do.

    def do(self, decision: Decision[T], *, validate_only: bool = False) -> T:
        """Run one caller's one decision; raise its refusal."""
        [result] = self.batch(decision, validate_only=validate_only)
        if isinstance(result, AkaError):
            raise result
        answer: T = result
        return answer

    def refused(self, decision: Decision[Any]) -> AkaError:
        """Run a decision that is to be refused, and return why. A refusal writes nothing."""
        before = self.state
        with pytest.raises(AkaError) as refusal:
            self.do(decision)
        assert self.state == before
        return refusal.value

    def batch(self, *decisions: Decision[Any], validate_only: bool = False) -> list[Any]:
        """Run one caller's decisions."""
        results: list[Any]
        [results] = self.group(call(*decisions, validate_only=validate_only))
        return results

    def group(self, *calls: Call) -> list[Any]:
        """Run several callers' decisions over one graph, as a store does; return a verdict for each."""
        self.now += 1
        decisions = [decision for each in calls for decision in each.decisions]
        graph = self.read([key for decision in decisions for key in decision.keys])
        if self.preloads:
            for decision in decisions:
                if decision.labels_of is not None and (profile := graph.find(decision.labels_of)):
                    self._load_labels(graph, profile.id)
        steps = decide(graph, calls, {})
        try:
            while True:
                self._load(next(steps))
        except StopIteration as stop:
            decided = stop.value
        assert [change for _, changes in decided.journal for change in changes] == graph.changes
        self._write(graph)
        verdicts: list[Any] = decided.verdicts
        return verdicts

    def read(self, keys: Sequence[Key]) -> Graph:
        """Return the part of the graph that the keys reach, and no more."""
        graph = Graph(self.now, self._new_profile_id)
        for key in keys:
            if not isinstance(key, Identifier):
                if key in self.survivors:
                    graph.add_profile(key, self.headers[self.survivors[key]])
            elif key in self.links:
                link = self.links[key]
                graph.add_link(key, link, self.headers[self.survivors[link.origin]])
        graph.add_free(keys)
        return graph

    def data(self, living: ProfileId, *, before_last_merge: bool = False) -> StoredData:
        """Return what is stored of a living profile and its tombstones, or would be if the last merge were undone."""
        parts = {living}
        tombstones: list[Tombstone] = []
        for merged in reversed(self.merges[:-1] if before_last_merge else self.merges):
            if merged.survivor in parts:
                parts.add(merged.loser)
                tombstones.insert(0, Tombstone(merged.loser, merged.survivor, merged.orphaned))
        attributes: dict[ProfileId, dict[str, Attribute]] = {}
        push_tokens: dict[PushToken, None] = {}
        activities = []
        for profile, new, tokens, activity, number in self.tracked:
            if profile in parts:
                attributes.setdefault(profile, {}).update(new)
                push_tokens.update(dict.fromkeys(tokens))
                if activity is not None:
                    activities.append(StoredActivity(profile, number, activity))
        activities.sort(key=lambda stored: (stored.activity.at, stored.origin, stored.number))
        return StoredData(tombstones, attributes, list(push_tokens), activities)

    def shares(self, key: str | Key) -> list[Share]:
        """Return what counts as the profile's that a key resolves to, then what is orphaned."""
        living = self.whose(key)
        assert living is not None
        return share_out(living, self.data(living))

    def attributes(self, key: str | Key) -> dict[str, str]:
        """Return the attributes of a key's profile, as JSON."""
        return dict(self.shares(key)[0].attributes)

    def _load(self, lack: Lack) -> None:
        for profile in lack.profiles:
            if not lack.holdings:
                self._load_labels(lack.graph, profile)
                continue
            data = self.data(profile)
            own = [tracked for tracked in self.tracked if tracked.profile == profile]
            parts = shares(profile, data.tombstones)[profile]
            held = Holdings(join(data.attributes.get(part, {}) for part in parts))
            held.push_tokens = {(token.app_id, token.token) for tracked in own for token in tracked.push_tokens}
            held.activities = max((tracked.number for tracked in own), default=0)
            lack.graph.add_holdings(profile, held)

    def _load_labels(self, graph: Graph, profile: ProfileId) -> None:
        parts = graph.parts(profile)
        graph.add_labels(
            profile,
            [
                identifier
                for identifier, link in self.links.items()
                if not identifier.is_id and self.survivors[link.origin] in parts
            ],
        )

    def _write(self, graph: Graph) -> None:
        self.tracked += graph.tracked
        for change in graph.changes:
            self.journal.append((graph.now, change))
            if isinstance(change, Merged):
                for profile, survivor in self.survivors.items():
                    if survivor == change.loser:
                        self.survivors[profile] = change.survivor
                self.headers.pop(change.loser, None)
                self._write_header(graph, change.survivor)
                continue
            if isinstance(change, Created):
                self.survivors[change.profile] = change.profile
            self._write_header(graph, change.profile)
            link = graph.link_of(change.identifier)
            if link is None:
                self.links.pop(change.identifier, None)
            else:
                self.links[change.identifier] = link

    def _write_header(self, graph: Graph, profile: ProfileId) -> None:
        if header := graph.living(profile):
            self.headers[profile] = header

    # What came of it.

    def whose(self, key: str | Key) -> ProfileId | None:
        """Return the living profile that an id, a user alias or a profile id resolves to."""
        key = id_of(key) if isinstance(key, str) else key
        profile = self.read([key]).find(key)
        return None if profile is None else profile.id

    def is_anonymous_id(self, name: str) -> bool:
        """Say whether an id is linked as an anonymous id."""
        return self.links[id_of(name)].anonymous

    @property
    def merges(self) -> list[Merged]:
        """The merges that the journal tells of."""
        return [change for _, change in self.journal if isinstance(change, Merged)]


def pair(label: str, name: str) -> Identifier:
    """Return a user alias."""
    return Identifier(label, name)


def _identifier(value: str | Identifier) -> Identifier:
    return id_of(value) if isinstance(value, str) else value


def alias(
    user: str | ProfileId,
    alias_id: str,
    policy: v1.MergePolicy.ValueType = v1.MERGE_POLICY_ANONYMOUS,
    *,
    create_missing: bool = False,
    may_merge: bool = True,
    rules: Rules = RULES,
) -> Alias:
    """Return an Alias by a user id or a profile id."""
    who = id_of(user) if isinstance(user, str) else user
    return Alias(who, id_of(alias_id), policy, create_missing, may_merge, rules)


def identify(
    external: str, subject: str | Identifier | None = None, *, orphan: bool = False, rules: Rules = RULES
) -> Identify:
    """Return an Identify of a user alias, of an anonymous id (a string), or of nobody but the external id."""
    return Identify(id_of(external), None if subject is None else _identifier(subject), orphan, rules)


def identify_with(
    attributes: Mapping[str, Any],
    external: str,
    subject: str | Identifier | None = None,
    *,
    orphan: bool = False,
    at: int | None = None,
) -> IdentifyWithAttributes:
    """Return an Identify with attributes that are written as JSON."""
    return IdentifyWithAttributes(identify(external, subject, orphan=orphan), track(external, attributes, at=at))


def create_alias(alias: str | Identifier, external: str | None = None, *, rules: Rules = RULES) -> CreateAlias:
    """Return a CreateAlias of a user alias or of an anonymous id (a string)."""
    return CreateAlias(None if external is None else id_of(external), _identifier(alias), rules)


def import_link(
    user: str | None = None,
    alias: str | Identifier | None = None,
    *,
    profile: ProfileId | None = None,
    anonymous: bool = False,
    policy: v1.MergePolicy.ValueType = v1.MERGE_POLICY_ANONYMOUS,
    may_merge: bool = True,
    rules: Rules = RULES,
) -> ImportLink:
    """Return an ImportLink of a user alias or of an id (a string)."""
    joining = Joining(policy, may_merge, "anonymous_id" if anonymous else "alias_id")
    linked = None if alias is None else _identifier(alias)
    return ImportLink(profile, None if user is None else id_of(user), linked, anonymous, joining, rules)


def delete_alias(
    alias: str | Identifier, profile_id: ProfileId | None = None, *, allow_missing: bool = False
) -> DeleteAlias:
    """Return a DeleteAlias of a user alias or of an id (a string)."""
    return DeleteAlias(_identifier(alias), profile_id, allow_missing)


def subject(key: str | Key, field: str | None = None, *, existing_only: bool = False) -> Subject:
    """Return whom an item is about: an external id (a string), or as `field` says."""
    named = id_of(key) if isinstance(key, str) else key
    kind = "user_alias" if isinstance(named, Identifier) and not named.is_id else "external_id"
    return Subject(named, field or ("profile_id" if not isinstance(named, Identifier) else kind), existing_only)


def track(
    key: str | Key | Subject,
    attributes: Mapping[str, Any] | None = None,
    *tokens: str,
    once: Mapping[str, Any] | None = None,
    at: int | None = None,
    rules: Rules = RULES,
) -> TrackAttributes:
    """Return a TrackAttributes of values that are written as JSON."""
    whom = key if isinstance(key, Subject) else subject(key)
    push_tokens = tuple(PushToken("app", token, "") for token in tokens)
    return TrackAttributes(whom, _written(attributes), _written(once), push_tokens, at, rules)


def happen(
    key: str | Key | Subject, name: str, kind: Kind = "event", *, at: int | None = None, rules: Rules = RULES
) -> TrackActivity:
    """Return a TrackActivity without details."""
    return TrackActivity(key if isinstance(key, Subject) else subject(key), kind, at, name, "{}", rules)


def _written(attributes: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in (attributes or {}).items()}
