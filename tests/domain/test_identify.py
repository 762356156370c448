"""Identify by example: the contract's table cell by cell, then the rules around it."""

import pytest

from aka.server.domain.identifiers import Identifier, ProfileId, uuid_text
from aka.server.domain.rules import Answer, Rules
from aka.server.domain.track import MAX_ATTRIBUTES
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import World, alias, identify, identify_with, pair, track

PAIR = pair("crm", "7")
either_subject = pytest.mark.parametrize("subject", [PAIR, "x"], ids=["user alias", "anonymous id"])
any_id_of_an_identified_profile = pytest.mark.parametrize("external", ["e", "a"], ids=["primary", "alias"])

Subject = Identifier | str


def created(profile: ProfileId | None, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_CREATED, profile, user_id)


def linked(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_LINKED, profile, user_id)


def already_linked(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_ALREADY_LINKED, profile, user_id)


def identified(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_IDENTIFIED, profile, user_id)


def merged(survivor: ProfileId, user_id: str, loser: ProfileId) -> Answer:
    return Answer(v1.OUTCOME_MERGED, survivor, user_id, loser)


# The external id is unknown.


def test_an_unknown_external_id_alone_makes_an_identified_profile(world: World) -> None:
    answer = world.do(identify("e"))
    made = world.whose("e")
    assert made is not None
    assert answer == created(made, "e")
    assert world.headers[made].primary == "e"


def test_an_unknown_external_id_is_not_made_for_an_unknown_user_alias(world: World) -> None:
    refusal = world.refused(identify("e", PAIR))
    assert refusal.name == "ALIAS_NOT_FOUND"
    assert refusal.metadata == {"alias_label": "crm", "alias_name": "7"}


def test_an_unknown_external_id_and_an_unknown_anonymous_id_make_a_profile_of_both(world: World) -> None:
    answer = world.do(identify("e", "x"))
    made = world.whose("e")
    assert answer == created(made, "e")
    assert world.whose("x") == made


@either_subject
def test_an_unknown_external_id_becomes_the_primary_id_of_the_subjects_anonymous_profile(
    world: World, subject: Subject
) -> None:
    profile = world.anonymous(subject)
    assert world.do(identify("e", subject)) == identified(profile, "e")
    assert world.headers[profile].primary == "e"
    assert world.whose("e") == profile


@either_subject
def test_an_unknown_external_id_is_not_made_for_a_subject_on_an_identified_profile(
    world: World, subject: Subject
) -> None:
    other = world.identified("other", subject)
    refusal = world.refused(identify("e", subject))
    assert refusal.name == "ALREADY_IDENTIFIED"
    assert refusal.metadata == {"subject_profile_id": uuid_text(other)}


# The external id is on an identified profile: its primary id, or an alias.


@any_id_of_an_identified_profile
def test_an_external_id_of_an_identified_profile_alone_is_already_linked(world: World, external: str) -> None:
    profile = world.identified("e", "a")
    before = world.state
    assert world.do(identify(external)) == already_linked(profile, "e")
    assert world.state == before


@any_id_of_an_identified_profile
def test_an_unknown_user_alias_is_not_found_for_an_identified_profile(world: World, external: str) -> None:
    world.identified("e", "a")
    assert world.refused(identify(external, PAIR)).name == "ALIAS_NOT_FOUND"


@any_id_of_an_identified_profile
def test_an_unknown_anonymous_id_is_linked_to_an_identified_profile(world: World, external: str) -> None:
    profile = world.identified("e", "a")
    assert world.do(identify(external, "x")) == linked(profile, "e")
    assert world.whose("x") == profile


@any_id_of_an_identified_profile
@either_subject
def test_a_subject_on_the_external_ids_identified_profile_is_already_linked(
    world: World, external: str, subject: Subject
) -> None:
    profile = world.identified("e", "a", subject)
    before = world.state
    assert world.do(identify(external, subject)) == already_linked(profile, "e")
    assert world.state == before


@any_id_of_an_identified_profile
@either_subject
def test_a_subjects_anonymous_profile_is_merged_into_the_external_ids_identified_one(
    world: World, external: str, subject: Subject
) -> None:
    profile, other = world.identified("e", "a"), world.anonymous(subject)
    assert world.do(identify(external, subject)) == merged(profile, "e", other)
    assert world.whose(subject) == profile
    assert world.whose(other) == profile


@any_id_of_an_identified_profile
@either_subject
def test_a_subject_on_another_identified_profile_is_already_identified(
    world: World, external: str, subject: Subject
) -> None:
    profile, other = world.identified("e", "a"), world.identified("other", subject)
    refusal = world.refused(identify(external, subject))
    assert refusal.name == "ALREADY_IDENTIFIED"
    assert refusal.metadata == {"profile_id": uuid_text(profile), "subject_profile_id": uuid_text(other)}


# The external id is on an anonymous profile.


def test_an_external_id_of_an_anonymous_profile_alone_becomes_its_primary_id(world: World) -> None:
    profile = world.anonymous("e")
    assert world.do(identify("e")) == identified(profile, "e")
    assert world.headers[profile].primary == "e"


def test_an_unknown_user_alias_is_not_found_for_an_anonymous_profile(world: World) -> None:
    world.anonymous("e")
    assert world.refused(identify("e", PAIR)).name == "ALIAS_NOT_FOUND"


def test_an_unknown_anonymous_id_is_linked_to_an_anonymous_profile_that_is_identified_by_it(world: World) -> None:
    profile = world.anonymous("e")
    assert world.do(identify("e", "x")) == identified(profile, "e")
    assert world.whose("x") == profile
    assert world.headers[profile].primary == "e"


@either_subject
def test_a_subject_on_the_external_ids_anonymous_profile_identifies_it(world: World, subject: Subject) -> None:
    profile = world.anonymous("e", subject)
    assert world.do(identify("e", subject)) == identified(profile, "e")
    assert world.headers[profile].primary == "e"


@either_subject
def test_a_subjects_anonymous_profile_is_merged_into_the_external_ids_which_survives_identified(
    world: World, subject: Subject
) -> None:
    other, profile = world.anonymous(subject), world.anonymous("e")
    assert world.do(identify("e", subject)) == merged(profile, "e", other)
    assert world.headers[profile].primary == "e"
    assert world.whose(other) == profile


@either_subject
def test_an_anonymous_profiles_external_id_is_refused_a_subject_on_an_identified_profile(
    world: World, subject: Subject
) -> None:
    world.anonymous("e")
    world.identified("other", subject)
    assert world.refused(identify("e", subject)).name == "ALREADY_IDENTIFIED"


# Tombstones: what was theirs is their survivor's.


def test_a_tombstones_former_id_is_an_external_id_of_its_survivor(world: World) -> None:
    survivor = world.identified("e")
    world.tombstone(survivor, "old")
    assert world.do(identify("old", "x")) == linked(survivor, "e")


def test_a_subject_that_a_tombstone_brought_is_on_its_survivor(world: World) -> None:
    survivor = world.identified("e")
    world.tombstone(survivor, PAIR)
    assert world.do(identify("e", PAIR)) == already_linked(survivor, "e")


def test_after_a_merge_the_losers_tombstones_are_one_step_from_the_survivor(world: World) -> None:
    profile, other = world.identified("e"), world.anonymous("x")
    older = world.tombstone(other, "old")
    world.do(identify("e", "x"))
    assert world.survivors == {profile: profile, other: profile, older: profile}


# What the subject is, and what it becomes.


@pytest.mark.parametrize("known", [False, True])
def test_an_anonymous_id_that_is_the_external_id_is_self_alias(world: World, known: bool) -> None:
    if known:
        world.identified("e")
    refusal = world.refused(identify("e", "e"))
    assert refusal.name == "SELF_ALIAS"
    assert refusal.field == "anonymous_id"


def test_a_reserved_value_as_external_and_anonymous_id_is_self_alias(world: World) -> None:
    assert world.refused(identify("null", "null")).name == "SELF_ALIAS"


def test_a_user_alias_whose_name_is_the_external_id_is_no_self_alias(world: World) -> None:
    profile = world.anonymous(pair("crm", "e"))
    assert world.do(identify("e", pair("crm", "e"))) == identified(profile, "e")


def test_an_id_that_identify_links_is_an_anonymous_id(world: World) -> None:
    world.do(identify("e", "x"))
    assert world.is_anonymous_id("x")
    assert not world.is_anonymous_id("e")
    world.do(identify("e", "y"))
    assert world.is_anonymous_id("y")


def test_an_alias_that_comes_as_an_anonymous_id_later_stays_an_alias(world: World) -> None:
    world.identified("e", "a")
    world.do(identify("e", "a"))
    assert not world.is_anonymous_id("a")


@pytest.mark.parametrize("subject", [None, "y"])
def test_an_anonymous_id_that_becomes_the_primary_id_ceases_to_be_one(world: World, subject: str | None) -> None:
    world.anonymous("x")
    world.do(identify("x", subject))
    assert not world.is_anonymous_id("x")


def test_an_anonymous_id_that_becomes_the_primary_id_in_a_merge_ceases_to_be_one(world: World) -> None:
    world.anonymous("x")
    world.anonymous("y")
    world.do(identify("x", "y"))
    assert not world.is_anonymous_id("x")
    assert world.is_anonymous_id("y")


def test_a_primary_id_that_was_an_anonymous_id_once_is_none_after_it_was_merged_away(world: World) -> None:
    world.anonymous("x")
    world.do(identify("x"))
    survivor = world.identified("e")
    world.do(alias("e", "x", v1.MERGE_POLICY_ALWAYS))
    assert world.whose("x") == survivor
    assert not world.is_anonymous_id("x")


# What follows a merge.


def test_a_user_aliass_data_are_orphaned_where_asked_for(world: World) -> None:
    world.identified("e")
    world.anonymous(PAIR)
    world.do(identify("e", PAIR, orphan=True))
    assert [change.orphaned for change in world.merges] == [True]


def test_a_user_aliass_data_follow_where_asked_for(world: World) -> None:
    world.identified("e")
    world.anonymous(PAIR)
    world.do(identify("e", PAIR, orphan=False))
    assert [change.orphaned for change in world.merges] == [False]


def test_an_anonymous_ids_data_always_follow(world: World) -> None:
    world.identified("e")
    world.anonymous("x")
    world.do(identify("e", "x", orphan=True))
    assert [change.orphaned for change in world.merges] == [False]


def test_a_survivor_that_got_all_data_is_as_old_as_the_older_of_the_two(world: World) -> None:
    other, profile = world.anonymous(PAIR), world.identified("e")
    oldest = world.headers[other].created_at
    world.do(identify("e", PAIR, orphan=False))
    assert world.headers[profile].created_at == oldest


def test_a_survivor_keeps_its_age_where_the_data_are_orphaned(world: World) -> None:
    world.anonymous(PAIR)
    profile = world.identified("e")
    own = world.headers[profile].created_at
    world.do(identify("e", PAIR, orphan=True))
    assert world.headers[profile].created_at == own


# Reserved values, labels and the cap, in the order in which they refuse.


def test_an_unknown_reserved_external_id_is_refused(world: World) -> None:
    refusal = world.refused(identify("null"))
    assert refusal.name == "RESERVED_IDENTIFIER"
    assert refusal.metadata == {"field": "external_id", "value": "null"}


def test_an_unknown_reserved_external_id_does_not_identify_an_anonymous_profile(world: World) -> None:
    world.anonymous(PAIR)
    assert world.refused(identify("null", PAIR)).name == "RESERVED_IDENTIFIER"


@pytest.mark.parametrize("known", [False, True])
def test_an_unknown_reserved_anonymous_id_is_refused(world: World, known: bool) -> None:
    if known:
        world.identified("e")
    refusal = world.refused(identify("e", "null"))
    assert refusal.name == "RESERVED_IDENTIFIER"
    assert refusal.metadata == {"field": "anonymous_id", "value": "null"}


def test_a_reserved_external_id_that_is_linked_already_may_become_the_primary_id(world: World) -> None:
    profile = world.anonymous("null")
    assert world.do(identify("null")) == identified(profile, "null")


def test_a_reserved_anonymous_id_that_is_linked_already_may_be_merged(world: World) -> None:
    profile, other = world.identified("e"), world.anonymous("null")
    assert world.do(identify("e", "null")) == merged(profile, "e", other)


def test_an_unknown_user_alias_is_refused_before_a_reserved_external_id(world: World) -> None:
    assert world.refused(identify("null", PAIR)).name == "ALIAS_NOT_FOUND"


def test_an_identified_subject_is_refused_before_a_reserved_external_id(world: World) -> None:
    world.identified("other", PAIR)
    assert world.refused(identify("null", PAIR)).name == "ALREADY_IDENTIFIED"


def test_a_reserved_external_id_is_refused_before_the_cap(world: World) -> None:
    world.anonymous("x", "y")
    assert world.refused(identify("null", "x", rules=Rules(2))).name == "RESERVED_IDENTIFIER"


def test_an_identified_subject_is_refused_before_a_taken_label(world: World) -> None:
    world.identified("e", pair("crm", "1"))
    world.identified("other", pair("crm", "2"))
    assert world.refused(identify("e", pair("crm", "2"))).name == "ALREADY_IDENTIFIED"


@pytest.mark.parametrize("subject", [pair("tax", "1"), "x"], ids=["user alias", "anonymous id"])
def test_a_target_with_another_name_under_any_of_the_subjects_labels_is_not_merged(
    world: World, subject: Subject
) -> None:
    profile = world.identified("e", pair("crm", "1"))
    other = world.anonymous(subject, pair("crm", "2"))
    refusal = world.refused(identify("e", subject))
    assert refusal.name == "LABEL_TAKEN"
    assert refusal.metadata == {
        "label": "crm",
        "profile_id": uuid_text(profile),
        "subject_profile_id": uuid_text(other),
    }


def test_a_label_on_the_targets_tombstone_counts(world: World) -> None:
    world.tombstone(world.identified("e"), pair("crm", "1"))
    world.anonymous(pair("crm", "2"))
    assert world.refused(identify("e", pair("crm", "2"))).name == "LABEL_TAKEN"


def test_a_label_on_the_subjects_tombstone_counts(world: World) -> None:
    world.identified("e", pair("crm", "1"))
    world.tombstone(world.anonymous("x"), pair("crm", "2"))
    assert world.refused(identify("e", "x")).name == "LABEL_TAKEN"


def test_an_anonymous_target_with_another_name_under_the_label_is_not_identified_either(world: World) -> None:
    profile = world.anonymous("e", pair("crm", "1"))
    world.anonymous(pair("crm", "2"))
    assert world.refused(identify("e", pair("crm", "2"))).name == "LABEL_TAKEN"
    assert world.headers[profile].primary is None


def test_a_taken_label_is_refused_before_the_cap(world: World) -> None:
    world.identified("e", pair("crm", "1"))
    world.anonymous(pair("crm", "2"))
    assert world.refused(identify("e", pair("crm", "2"), rules=Rules(2))).name == "LABEL_TAKEN"


def test_an_external_id_is_not_linked_beyond_the_cap(world: World) -> None:
    profile = world.anonymous("x", "y")
    refusal = world.refused(identify("e", "x", rules=Rules(2)))
    assert refusal.name == "TOO_MANY_IDENTIFIERS"
    assert refusal.metadata == {
        "profile_id": uuid_text(profile),
        "identifiers": "3",
        "tombstones": "0",
        "maximum": "2",
    }


def test_an_anonymous_id_is_not_linked_beyond_the_cap(world: World) -> None:
    world.identified("e", "a")
    assert world.refused(identify("e", "x", rules=Rules(2))).name == "TOO_MANY_IDENTIFIERS"


def test_profiles_are_not_merged_beyond_the_cap(world: World) -> None:
    profile, other = world.identified("e", "a"), world.anonymous("x")
    refusal = world.refused(identify("e", "x", rules=Rules(3)))
    assert refusal.name == "TOO_MANY_IDENTIFIERS"
    assert refusal.metadata == {
        "profile_id": uuid_text(profile),
        "subject_profile_id": uuid_text(other),
        "identifiers": "3",
        "tombstones": "1",
        "maximum": "3",
    }


def test_a_merge_that_just_fills_the_cap_is_made(world: World) -> None:
    profile, other = world.identified("e", "a"), world.anonymous("x")
    assert world.do(identify("e", "x", rules=Rules(4))) == merged(profile, "e", other)


def test_an_id_that_becomes_the_primary_id_needs_no_room(world: World) -> None:
    profile = world.anonymous("x", "y")
    assert world.do(identify("x", rules=Rules(2))) == identified(profile, "x")


# Repeats.


@pytest.mark.parametrize("subject", [None, "x", PAIR], ids=["no subject", "anonymous id", "user alias"])
@pytest.mark.parametrize("external_is", ["unknown", "identified", "anonymous"])
@pytest.mark.parametrize("subject_is", ["unknown", "anonymous"])
def test_an_identify_that_succeeded_is_already_linked_when_repeated(
    world: World, external_is: str, subject: Subject | None, subject_is: str
) -> None:
    if external_is == "identified":
        world.identified("e")
    if external_is == "anonymous":
        world.anonymous("e")
    if subject is not None and (subject_is == "anonymous" or subject == PAIR):
        world.anonymous(subject)
    first = world.do(identify("e", subject))
    before = world.state
    again = world.do(identify("e", subject))
    assert again == first._replace(outcome=v1.OUTCOME_ALREADY_LINKED, merged=None)
    assert world.state == before


# With attributes.

LARGE = {"large": "x" * MAX_ATTRIBUTES}


def test_attributes_are_put_on_the_profile_that_is_made(world: World) -> None:
    answer = world.do(identify_with({"a": 1}, "e", "x"))
    assert answer == created(world.whose("e"), "e")
    assert world.attributes("x") == {"a": "1"}


def test_attributes_are_put_on_the_profile_that_becomes_known(world: World) -> None:
    profile = world.anonymous("x")
    world.do(track("x", {"a": 1, "b": 1}))
    assert world.do(identify_with({"b": 2}, "e", "x")) == identified(profile, "e")
    assert world.attributes("e") == {"a": "1", "b": "2"}


@pytest.mark.parametrize(("orphan", "joined"), [(False, {"a": "1", "b": "3"}), (True, {"b": "3"})])
def test_attributes_are_put_on_the_survivor_of_a_merge(world: World, orphan: bool, joined: dict[str, str]) -> None:
    world.do(track(PAIR, {"a": 1, "b": 1}))
    world.do(track("e", {"b": 2}))
    world.do(identify_with({"b": 3}, "e", PAIR, orphan=orphan))
    assert world.attributes("e") == joined


def test_an_attribute_that_is_older_than_that_of_either_profile_leaves_it(world: World) -> None:
    world.do(track("e", {"a": "e"}, at=500))
    world.do(track(PAIR, {"b": "pair"}, at=500))
    world.do(identify_with({"a": "old", "b": "old", "c": "old"}, "e", PAIR, at=499))
    assert world.attributes("e") == {"a": '"e"', "b": '"pair"', "c": '"old"'}


def test_an_attribute_is_held_against_the_survivors_of_a_merge_not_against_what_it_hides(world: World) -> None:
    world.do(track("e", {"a": "e"}, at=500))
    world.do(track(PAIR, {"a": "pair"}, at=700))
    world.do(identify_with({"a": "between"}, "e", PAIR, at=600))
    assert world.attributes("e") == {"a": '"between"'}


def test_an_identify_that_is_refused_puts_no_attributes(world: World) -> None:
    world.identified("e")
    world.identified("other", "x")
    assert world.refused(identify_with({"a": 1}, "e", "x")).name == "ALREADY_IDENTIFIED"
    assert world.attributes("e") == {}


@either_subject
def test_attributes_that_are_too_many_identify_nobody(world: World, subject: Subject) -> None:
    world.anonymous(subject)
    assert world.refused(identify_with(LARGE, "e", subject)).name == "TOO_MUCH_DATA"
    assert world.whose("e") is None


def test_what_a_merge_brings_counts_with_the_attributes_that_come_with_it(world: World) -> None:
    half = {"half": "x" * (MAX_ATTRIBUTES // 2)}
    world.do(track(PAIR, half))
    world.do(track("e"))
    assert world.refused(identify_with({"other": half["half"]}, "e", PAIR)).name == "TOO_MUCH_DATA"
    assert world.whose(PAIR) != world.whose("e")
    world.do(identify_with({"other": half["half"]}, "e", PAIR, orphan=True))
    assert world.whose(PAIR) == world.whose("e")


def test_attributes_of_the_same_id_in_one_batch_are_put_in_order(world: World) -> None:
    world.batch(identify_with({"a": 1, "b": 1}, "e", "x"), identify_with({"a": 2}, "e"), track("x", {"c": 3}))
    assert world.attributes("e") == {"a": "2", "b": "1", "c": "3"}
