"""Whose data is whose after merges, held against a model that moves all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from aka.server.domain.identifiers import ProfileId
from aka.server.domain.identify import IdentifyWithAttributes
from aka.server.domain.profile_data import Attribute, Share, Tombstone, join, share_out, shares
from aka.server.domain.track import TrackActivity, TrackAttributes
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import (
    World,
    alias,
    create_alias,
    happen,
    identify,
    identify_with,
    pair,
    profile_id,
    subject,
    track,
)

NAMES: Final = ("a", "b", "c")
USERS: Final = ("ann", "bob")
COOKIES: Final = ("jar", "tin")
PAIRS: Final = (pair("device", "1"), pair("device", "2"), pair("phone", "1"))
PEOPLE: Final = [subject(user) for user in USERS + PAIRS] + [subject(cookie, "anonymous_id") for cookie in COOKIES]

tracks = st.builds(
    lambda who, name, value, at, once: track(
        who, {} if once else {name: value}, *([] if once else [str(value)]), once={name: value} if once else {}, at=at
    ),
    st.sampled_from(PEOPLE),
    st.sampled_from(NAMES),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([None, 1, 2, 10**9]),
    st.booleans(),
)
activities = st.builds(
    happen,
    st.sampled_from(PEOPLE),
    st.sampled_from(NAMES),
    st.sampled_from(["event", "purchase", "message"]),
    at=st.sampled_from([None, 1, 2]),
)
joins = st.sampled_from(
    [
        *(alias(user, other, v1.MERGE_POLICY_ALWAYS) for user, other in product(USERS + COOKIES, repeat=2)),
        *(create_alias(other, cookie) for cookie, other in product(COOKIES, PAIRS)),
        *(identify(user, other, orphan=orphan) for user, other in product(USERS, PAIRS) for orphan in (False, True)),
        *(identify_with({"a": 4}, user, other, at=at) for user, other in product(USERS, COOKIES) for at in (None, 1)),
    ]
)
"""Many are refused, which is as well."""

EVERYBODY_HAS_SOME: Final[list[Any]] = [
    command
    for place, person in enumerate(PEOPLE)
    for command in (track(person, {"a": place}), happen(person, "b"), happen(person, "c", "message"))
]


@dataclass
class Owner:
    """A living profile that holds all its data itself."""

    attributes: dict[str, tuple[Any, int]] = field(default_factory=dict)
    happened: list[tuple[str, int, str]] = field(default_factory=list)
    orphaned: dict[ProfileId, "Owner"] = field(default_factory=dict)

    def track(self, wanted: TrackAttributes, now: int) -> None:
        at = now if wanted.at is None or wanted.at > now else wanted.at
        for name, value in wanted.attributes.items():
            if wanted.at is None or name not in self.attributes or self.attributes[name][1] <= wanted.at:
                self.attributes[name] = value, at
        for name, value in wanted.once.items():
            if self.attributes.get(name, ("null", 0))[0] == "null":
                self.attributes[name] = value, at

    def absorb(self, loser: "Owner", lost: ProfileId, *, orphaned: bool) -> None:
        self.orphaned |= loser.orphaned
        if orphaned:
            self.happened += [row for row in loser.happened if row[0] == "message"]
            rest = [row for row in loser.happened if row[0] != "message"]
            self.orphaned[lost] = Owner(loser.attributes, rest)
        else:
            self.attributes = loser.attributes | self.attributes
            self.happened += loser.happened


@settings(max_examples=settings().max_examples // 2)
@given(st.lists(st.one_of(tracks, activities, joins, joins), max_size=25), st.booleans())
def test_data_is_where_a_model_that_moves_it_has_it_and_every_merge_is_taken_back_exactly(
    commands: list[Any], tried_first: bool
) -> None:
    world, owners = World(), dict[ProfileId, Owner]()
    for command in EVERYBODY_HAS_SOME + commands:
        if tried_first:
            world.batch(command, validate_only=True)
        before = {} if isinstance(command, TrackAttributes | TrackActivity) else _all(world)
        [answer] = world.batch(command)
        if isinstance(answer, AkaError):
            continue
        if isinstance(command, TrackAttributes):
            owners.setdefault(answer, Owner()).track(command, world.now)
        elif isinstance(command, TrackActivity):
            row = command.kind, world.now if command.at is None else command.at, command.name
            owners.setdefault(answer, Owner()).happened.append(row)
        elif answer.merged is not None:
            merged = world.merges[-1]
            loser = owners.pop(merged.loser, Owner())
            owners.setdefault(merged.survivor, Owner()).absorb(loser, merged.loser, orphaned=merged.orphaned)
        if isinstance(command, IdentifyWithAttributes):
            owners.setdefault(answer.profile_id, Owner()).track(command.track, world.now)
        elif not isinstance(command, TrackAttributes | TrackActivity) and answer.merged is not None:
            for profile in (merged.loser, merged.survivor):
                assert share_out(profile, world.data(profile, before_last_merge=True)) == before[profile]
    for profile, found in _all(world).items():
        assert _told(found) == _modelled(profile, owners.get(profile, Owner()))


def _all(world: World) -> dict[ProfileId, list[Share]]:
    return {profile: world.shares(profile) for profile in world.headers}


def _told(found: list[Share]) -> Mapping[ProfileId, Any]:
    own, *orphaned = found
    everything = [own, *(share for share in orphaned if share.attributes or share.activities)]
    return {
        share.profile: (share.attributes, sorted((kind, at, name) for kind, at, name, _ in share.activities))
        for share in everything
    }


def _modelled(profile: ProfileId, owner: Owner) -> Mapping[ProfileId, Any]:
    everybody = {profile: owner, **owner.orphaned}
    told = {
        each: (
            {name: value for name, (value, _) in holds.attributes.items() if value != "null"},
            sorted(holds.happened),
        )
        for each, holds in everybody.items()
    }
    return {each: data for each, data in told.items() if each == profile or data != ({}, [])}


def test_a_share_begins_with_its_profile_and_goes_on_in_the_order_of_the_merges() -> None:
    living, first, second, inner, left, below = map(profile_id, (6, 5, 4, 3, 2, 1))
    tombstones = [
        Tombstone(inner, first, False),
        Tombstone(below, left, False),
        Tombstone(left, first, True),
        Tombstone(first, living, False),
        Tombstone(second, living, False),
    ]
    assert shares(living, tombstones) == {living: [living, first, inner, second], left: [left, below]}


def test_the_first_of_several_parts_wins() -> None:
    parts = [{"a": Attribute("1", 1)}, {"a": Attribute("2", 2), "b": Attribute("2", 2)}, {"b": Attribute("3", 3)}]
    assert join(parts) == {"a": Attribute("1", 1), "b": Attribute("2", 2)}
