"""Alias by example: the contract's table row by row, in the order in which the rows are tried."""

import pytest

from aka.server.domain.identifiers import ProfileId, uuid_text
from aka.server.domain.rules import Answer, Rules
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, World, alias, pair

NEVER, ANONYMOUS, ALWAYS = v1.MERGE_POLICY_NEVER, v1.MERGE_POLICY_ANONYMOUS, v1.MERGE_POLICY_ALWAYS
every_policy = pytest.mark.parametrize("policy", v1.MergePolicy.values())
joining_policies = pytest.mark.parametrize("policy", [ANONYMOUS, ALWAYS])


def linked(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_LINKED, profile, user_id)


def already_linked(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_ALREADY_LINKED, profile, user_id)


def merged(survivor: ProfileId, user_id: str, loser: ProfileId) -> Answer:
    return Answer(v1.OUTCOME_MERGED, survivor, user_id, loser)


# Row 2: the alias is the given user id.


def test_an_unknown_user_id_as_its_own_alias_is_self_alias_and_nobody_is_created(world: World) -> None:
    refusal = world.refused(alias("u", "u", create_missing=True))
    assert refusal.name == "SELF_ALIAS"
    assert refusal.field == "alias_id"


def test_a_known_user_id_as_its_own_alias_is_self_alias(world: World) -> None:
    world.identified("u")
    assert world.refused(alias("u", "u")).name == "SELF_ALIAS"


def test_a_reserved_value_as_its_own_alias_is_self_alias(world: World) -> None:
    assert world.refused(alias("null", "null", create_missing=True)).name == "SELF_ALIAS"


def test_ids_that_differ_in_case_are_two_ids(world: World) -> None:
    user = world.identified("u")
    assert world.do(alias("u", "U")) == linked(user, "u")


def test_an_id_that_looks_like_the_users_profile_id_is_an_id(world: World) -> None:
    user = world.identified("u")
    assert world.do(alias(user, uuid_text(user))) == linked(user, "u")


# Row 3: the user is an unknown profile id.


@pytest.mark.parametrize("create_missing", [False, True])
def test_an_unknown_profile_id_is_not_found_and_never_made(world: World, create_missing: bool) -> None:
    refusal = world.refused(alias(UNKNOWN, "new", create_missing=create_missing))
    assert refusal.name == "PROFILE_NOT_FOUND"
    assert refusal.metadata == {"profile_id": uuid_text(UNKNOWN)}


def test_an_unknown_profile_id_is_not_found_before_a_reserved_alias_is_seen(world: World) -> None:
    assert world.refused(alias(UNKNOWN, "null")).name == "PROFILE_NOT_FOUND"


def test_a_tombstones_profile_id_means_its_survivor(world: World) -> None:
    survivor = world.identified("u")
    tombstone = world.tombstone(survivor, "old")
    assert world.do(alias(tombstone, "new")) == linked(survivor, "u")


# Row 4: the user id is unknown and not to be made.


def test_an_unknown_user_id_is_not_found(world: World) -> None:
    refusal = world.refused(alias("u", "new"))
    assert refusal.name == "USER_NOT_FOUND"
    assert refusal.metadata == {"user_id": "u"}


def test_an_unknown_user_id_is_not_found_though_the_alias_is_known(world: World) -> None:
    other = world.anonymous("x")
    refusal = world.refused(alias("u", "x"))
    assert refusal.name == "USER_NOT_FOUND"
    assert refusal.metadata == {"user_id": "u", "alias_profile_id": uuid_text(other)}


def test_an_unknown_reserved_user_id_that_is_not_to_be_made_is_not_found(world: World) -> None:
    assert world.refused(alias("null", "new")).name == "USER_NOT_FOUND"


# Row 5: both are one profile.


@every_policy
def test_an_alias_that_the_user_already_has_is_already_linked(world: World, policy: v1.MergePolicy.ValueType) -> None:
    user = world.identified("u", "a")
    before = world.state
    assert world.do(alias("u", "a", policy)) == already_linked(user, "u")
    assert world.state == before


def test_a_circle_ends_as_already_linked(world: World) -> None:
    user = world.identified("u", "a")
    assert world.do(alias("a", "u")) == already_linked(user, "u")


def test_two_aliases_of_one_profile_are_already_linked(world: World) -> None:
    user = world.identified("u", "a", "b")
    assert world.do(alias("a", "b")) == already_linked(user, "u")


def test_a_profile_id_and_its_own_id_are_already_linked(world: World) -> None:
    user = world.identified("u")
    assert world.do(alias(user, "u")) == already_linked(user, "u")


def test_a_tombstones_profile_id_and_its_survivors_id_are_already_linked(world: World) -> None:
    survivor = world.identified("u")
    tombstone = world.tombstone(survivor, "old")
    assert world.do(alias(tombstone, "u")) == already_linked(survivor, "u")


def test_a_tombstones_former_id_and_its_survivors_id_are_already_linked(world: World) -> None:
    survivor = world.identified("u")
    world.tombstone(survivor, "old")
    assert world.do(alias("old", "u")) == already_linked(survivor, "u")


def test_two_ids_of_an_anonymous_profile_are_already_linked_with_an_empty_user_id(world: World) -> None:
    profile = world.anonymous("x", "y")
    assert world.do(alias("x", "y")) == already_linked(profile, "")


def test_a_reserved_value_that_is_linked_already_is_no_new_link(world: World) -> None:
    user = world.identified("u", "null")
    assert world.do(alias("u", "null")) == already_linked(user, "u")


def test_a_profile_beyond_a_lowered_cap_still_is_already_linked(world: World) -> None:
    user = world.identified("u", "a", "b")
    assert world.do(alias("u", "a", rules=Rules(2))) == already_linked(user, "u")


# Row 6: an unknown user or a free alias is reserved.


def test_a_free_reserved_alias_is_refused(world: World) -> None:
    user = world.identified("u")
    refusal = world.refused(alias("u", "null"))
    assert refusal.name == "RESERVED_IDENTIFIER"
    assert refusal.metadata == {"field": "alias_id", "value": "null", "user_profile_id": uuid_text(user)}


def test_an_unknown_reserved_user_is_refused(world: World) -> None:
    refusal = world.refused(alias("null", "new", create_missing=True))
    assert refusal.name == "RESERVED_IDENTIFIER"
    assert refusal.metadata == {"field": "user_id", "value": "null"}


def test_of_a_reserved_user_and_a_reserved_alias_the_user_is_named(world: World) -> None:
    assert world.refused(alias("null", "undefined", create_missing=True)).field == "user_id"


def test_an_unknown_user_with_a_free_reserved_alias_is_refused_and_nobody_is_created(world: World) -> None:
    assert world.refused(alias("u", "null", create_missing=True)).field == "alias_id"


@every_policy
def test_an_unknown_reserved_user_is_refused_as_such_whatever_the_policy_says_of_a_taken_alias(
    world: World, policy: v1.MergePolicy.ValueType
) -> None:
    other = world.identified("other", "taken")
    refusal = world.refused(alias("null", "taken", policy, create_missing=True))
    assert refusal.name == "RESERVED_IDENTIFIER"
    assert refusal.metadata == {"field": "user_id", "value": "null", "alias_profile_id": uuid_text(other)}


@joining_policies
def test_an_unknown_reserved_user_cannot_identify_an_anonymous_profile(
    world: World, policy: v1.MergePolicy.ValueType
) -> None:
    world.anonymous("x")
    assert world.refused(alias("null", "x", policy, create_missing=True)).name == "RESERVED_IDENTIFIER"


def test_a_reserved_alias_on_another_profile_may_be_merged(world: World) -> None:
    user, other = world.identified("u"), world.anonymous("null")
    assert world.do(alias("u", "null")) == merged(user, "u", other)


def test_a_reserved_free_alias_is_refused_before_the_cap_is_seen(world: World) -> None:
    world.identified("u", "a")
    assert world.refused(alias("u", "null", rules=Rules(2))).name == "RESERVED_IDENTIFIER"


# Row 7: the alias is free, the user known.


@every_policy
def test_a_free_alias_is_linked_to_a_known_user(world: World, policy: v1.MergePolicy.ValueType) -> None:
    user = world.identified("u")
    assert world.do(alias("u", "new", policy)) == linked(user, "u")
    assert world.whose("new") == user


def test_a_free_alias_is_linked_by_any_alias_of_the_user(world: World) -> None:
    user = world.identified("u", "a")
    assert world.do(alias("a", "new")) == linked(user, "u")


def test_a_free_alias_is_linked_by_the_profile_id(world: World) -> None:
    user = world.identified("u")
    assert world.do(alias(user, "new")) == linked(user, "u")


def test_a_free_alias_is_linked_to_an_anonymous_profile_by_its_id(world: World) -> None:
    profile = world.anonymous("x")
    assert world.do(alias("x", "new")) == linked(profile, "")


def test_a_free_alias_is_linked_to_a_profile_of_user_aliases_by_the_profile_id(world: World) -> None:
    profile = world.anonymous(pair("crm", "7"))
    assert world.do(alias(profile, "new")) == linked(profile, "")


def test_a_free_alias_is_linked_to_the_survivor_by_a_tombstones_former_id(world: World) -> None:
    survivor = world.identified("u")
    world.tombstone(survivor, "old")
    assert world.do(alias("old", "new")) == linked(survivor, "u")


def test_create_missing_makes_no_second_profile_of_a_known_user(world: World) -> None:
    user = world.identified("u")
    assert world.do(alias("u", "new", create_missing=True)) == linked(user, "u")


def test_an_alias_is_no_anonymous_id_even_on_an_anonymous_profile(world: World) -> None:
    world.anonymous("x")
    world.do(alias("x", "new"))
    assert world.is_anonymous_id("x")
    assert not world.is_anonymous_id("new")


# Row 8: the alias is free, the user unknown.


@every_policy
def test_an_unknown_user_is_created_with_the_free_alias(world: World, policy: v1.MergePolicy.ValueType) -> None:
    answer = world.do(alias("u", "a", policy, create_missing=True))
    made = world.whose("u")
    assert made is not None
    assert answer == Answer(v1.OUTCOME_CREATED, made, "u")
    assert world.whose("a") == made
    assert world.headers[made].primary == "u"


def test_neither_id_of_a_created_user_is_an_anonymous_id(world: World) -> None:
    world.do(alias("u", "a", create_missing=True))
    assert not world.is_anonymous_id("u")
    assert not world.is_anonymous_id("a")


# Row 9: the alias is on another profile, and the policy is NEVER.


def test_an_alias_on_another_profile_is_taken_under_policy_never(world: World) -> None:
    user, other = world.identified("u"), world.identified("other", "taken")
    refusal = world.refused(alias("u", "taken", NEVER))
    assert refusal.name == "ALIAS_TAKEN"
    assert refusal.metadata == {
        "alias_id": "taken",
        "user_profile_id": uuid_text(user),
        "alias_profile_id": uuid_text(other),
    }


def test_an_alias_on_an_anonymous_profile_is_taken_under_policy_never(world: World) -> None:
    world.identified("u")
    world.anonymous("x")
    assert world.refused(alias("u", "x", NEVER)).name == "ALIAS_TAKEN"


def test_an_alias_is_taken_under_policy_never_for_an_unknown_user_who_has_no_profile_to_name(world: World) -> None:
    other = world.anonymous("x")
    refusal = world.refused(alias("u", "x", NEVER, create_missing=True))
    assert refusal.name == "ALIAS_TAKEN"
    assert refusal.metadata == {"alias_id": "x", "alias_profile_id": uuid_text(other)}


# Row 10: both are identified, and the policy is ANONYMOUS, the default.


@pytest.mark.parametrize("policy", [ANONYMOUS, v1.MERGE_POLICY_UNSPECIFIED])
def test_two_identified_profiles_are_not_joined_by_default(world: World, policy: v1.MergePolicy.ValueType) -> None:
    user, other = world.identified("u"), world.identified("other")
    refusal = world.refused(alias("u", "other", policy))
    assert refusal.name == "IDENTIFIED_PROFILE"
    assert refusal.metadata == {
        "alias_id": "other",
        "user_profile_id": uuid_text(user),
        "alias_profile_id": uuid_text(other),
    }


@pytest.mark.parametrize("policy", [ANONYMOUS, v1.MERGE_POLICY_UNSPECIFIED])
def test_an_unknown_user_counts_as_identified(world: World, policy: v1.MergePolicy.ValueType) -> None:
    other = world.identified("other")
    refusal = world.refused(alias("u", "other", policy, create_missing=True))
    assert refusal.name == "IDENTIFIED_PROFILE"
    assert refusal.metadata == {"alias_id": "other", "alias_profile_id": uuid_text(other)}


def test_the_policy_refuses_before_a_missing_permission_does(world: World) -> None:
    world.identified("u")
    world.identified("other")
    assert world.refused(alias("u", "other", may_merge=False)).name == "IDENTIFIED_PROFILE"


def test_the_policy_refuses_before_a_taken_label_does(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    world.identified("other", pair("crm", "2"))
    assert world.refused(alias("u", "other")).name == "IDENTIFIED_PROFILE"


# Row 11: the user is unknown, the alias's profile anonymous.


@pytest.mark.parametrize("policy", [v1.MERGE_POLICY_UNSPECIFIED, ANONYMOUS, ALWAYS])
def test_an_unknown_user_identifies_the_aliass_anonymous_profile(
    world: World, policy: v1.MergePolicy.ValueType
) -> None:
    profile = world.anonymous("x")
    assert world.do(alias("u", "x", policy, create_missing=True)) == Answer(v1.OUTCOME_IDENTIFIED, profile, "u")
    assert world.headers[profile].primary == "u"
    assert world.whose("u") == profile


def test_an_unknown_user_is_not_linked_beyond_the_cap_of_the_anonymous_profile(world: World) -> None:
    world.anonymous("x", "y")
    assert world.refused(alias("u", "x", create_missing=True, rules=Rules(2))).name == "TOO_MANY_IDENTIFIERS"


# Row 12: the user is unknown, the alias's profile identified, the policy ALWAYS.


def test_an_unknown_user_joins_an_identified_profile_as_an_alias_under_policy_always(world: World) -> None:
    other = world.identified("other", "a")
    assert world.do(alias("u", "a", ALWAYS, create_missing=True)) == linked(other, "other")
    assert world.whose("u") == other


def test_an_unknown_user_joins_without_the_permission_to_merge(world: World) -> None:
    other = world.identified("other")
    answer = world.do(alias("u", "other", ALWAYS, create_missing=True, may_merge=False))
    assert answer == linked(other, "other")


def test_an_unknown_user_is_not_linked_beyond_the_cap_of_the_identified_profile(world: World) -> None:
    other = world.identified("other", "a")
    refusal = world.refused(alias("u", "a", ALWAYS, create_missing=True, rules=Rules(2)))
    assert refusal.name == "TOO_MANY_IDENTIFIERS"
    assert refusal.metadata["alias_profile_id"] == uuid_text(other)
    assert "user_profile_id" not in refusal.metadata


# Row 13: two profiles are merged.


@joining_policies
def test_an_identified_user_survives_the_merge_with_an_anonymous_alias(
    world: World, policy: v1.MergePolicy.ValueType
) -> None:
    user, other = world.identified("u"), world.anonymous("x")
    assert world.do(alias("u", "x", policy)) == merged(user, "u", other)


@joining_policies
def test_the_identified_alias_survives_the_merge_with_an_anonymous_user(
    world: World, policy: v1.MergePolicy.ValueType
) -> None:
    user, other = world.anonymous("x"), world.identified("other")
    assert world.do(alias("x", "other", policy)) == merged(other, "other", user)


@joining_policies
def test_of_two_anonymous_profiles_the_users_survives(world: World, policy: v1.MergePolicy.ValueType) -> None:
    user, other = world.anonymous("x"), world.anonymous("y")
    assert world.do(alias("x", "y", policy)) == merged(user, "", other)


def test_of_two_identified_profiles_the_users_survives_under_policy_always(world: World) -> None:
    user, other = world.identified("u"), world.identified("other")
    assert world.do(alias("u", "other", ALWAYS)) == merged(user, "u", other)


def test_the_unspecified_policy_merges_an_anonymous_profile(world: World) -> None:
    user, other = world.identified("u"), world.anonymous("x")
    assert world.do(alias("u", "x", v1.MERGE_POLICY_UNSPECIFIED)) == merged(user, "u", other)


def test_after_a_merge_every_identifier_and_profile_id_of_the_loser_resolves_to_the_survivor(world: World) -> None:
    user, other = world.identified("u"), world.identified("other", "a", pair("crm", "7"))
    older = world.tombstone(other, "old")
    world.do(alias("u", "other", ALWAYS))
    keys = ("u", "other", "a", "old", pair("crm", "7"), other, older)
    assert [world.whose(key) for key in keys] == [user] * len(keys)


def test_after_a_merge_every_tombstone_is_one_step_from_the_survivor(world: World) -> None:
    user, other = world.identified("u"), world.identified("other")
    older = world.tombstone(other, "old")
    world.do(alias("u", "other", ALWAYS))
    assert world.survivors == {user: user, other: user, older: user}


def test_a_merge_adds_the_losers_counts_to_the_survivors(world: World) -> None:
    user, other = world.identified("u", pair("crm", "7")), world.anonymous("x", pair("tax", "1"))
    world.tombstone(user, "old")
    world.tombstone(other, "older")
    world.do(alias("u", "x"))
    survivor = world.headers[user]
    assert (survivor.identifiers, survivor.user_aliases, survivor.tombstones) == (6, 2, 3)


def test_a_merged_profiles_primary_id_becomes_an_alias(world: World) -> None:
    user = world.identified("u")
    world.identified("other")
    world.do(alias("u", "other", ALWAYS))
    assert world.headers[user].primary == "u"
    assert not world.is_anonymous_id("other")


def test_a_merged_profiles_anonymous_ids_stay_anonymous_ids(world: World) -> None:
    world.identified("u")
    world.anonymous("x")
    world.do(alias("u", "x"))
    assert world.is_anonymous_id("x")


def test_the_survivor_of_a_merge_is_as_old_as_the_older_of_the_two(world: World) -> None:
    other, user = world.anonymous("x"), world.identified("u")
    oldest = world.headers[other].created_at
    world.do(alias("u", "x"))
    assert world.headers[user].created_at == oldest


def test_a_merge_by_alias_keeps_all_data_of_both(world: World) -> None:
    world.identified("u")
    world.anonymous("x")
    world.do(alias("u", "x"))
    assert [change.orphaned for change in world.merges] == [False]


def test_two_identified_profiles_are_not_merged_without_the_permission(world: World) -> None:
    user, other = world.identified("u"), world.identified("other")
    refusal = world.refused(alias("u", "other", ALWAYS, may_merge=False))
    assert refusal.name == "PERMISSION_MISSING"
    assert refusal.metadata == {
        "permission": "profiles.merge",
        "user_profile_id": uuid_text(user),
        "alias_profile_id": uuid_text(other),
    }


def test_the_permission_is_asked_for_before_a_taken_label(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    world.identified("other", pair("crm", "2"))
    assert world.refused(alias("u", "other", ALWAYS, may_merge=False)).name == "PERMISSION_MISSING"


def test_an_anonymous_profile_is_merged_without_the_permission(world: World) -> None:
    user, other = world.identified("u"), world.anonymous("x")
    assert world.do(alias("u", "x", ALWAYS, may_merge=False)) == merged(user, "u", other)


# Before anything is written: one name a label, and the cap.


def test_profiles_with_two_names_under_one_label_are_not_merged(world: World) -> None:
    user, other = world.identified("u", pair("crm", "1")), world.anonymous("x", pair("crm", "2"))
    refusal = world.refused(alias("u", "x"))
    assert refusal.name == "LABEL_TAKEN"
    assert refusal.metadata == {
        "label": "crm",
        "profile_id": uuid_text(user),
        "user_profile_id": uuid_text(user),
        "alias_profile_id": uuid_text(other),
    }


def test_profiles_with_different_labels_are_merged(world: World) -> None:
    user, other = world.identified("u", pair("crm", "1")), world.anonymous("x", pair("tax", "1"))
    assert world.do(alias("u", "x")) == merged(user, "u", other)


def test_a_label_on_the_users_tombstone_counts(world: World) -> None:
    user = world.identified("u")
    world.tombstone(user, pair("crm", "1"))
    world.anonymous("x", pair("crm", "2"))
    assert world.refused(alias("u", "x")).name == "LABEL_TAKEN"


def test_a_label_on_the_aliass_tombstone_counts(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    world.tombstone(world.anonymous("x"), pair("crm", "2"))
    assert world.refused(alias("u", "x")).name == "LABEL_TAKEN"


def test_a_taken_label_is_refused_before_the_cap(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    world.anonymous("x", pair("crm", "2"))
    assert world.refused(alias("u", "x", rules=Rules(2))).name == "LABEL_TAKEN"


def test_a_link_beyond_the_cap_is_refused_with_the_counts(world: World) -> None:
    user = world.identified("u", "a")
    world.tombstone(user, "old")
    refusal = world.refused(alias("u", "new", rules=Rules(4)))
    assert refusal.name == "TOO_MANY_IDENTIFIERS"
    assert refusal.metadata == {
        "profile_id": uuid_text(user),
        "user_profile_id": uuid_text(user),
        "identifiers": "4",
        "tombstones": "1",
        "maximum": "4",
    }


def test_a_link_that_just_fills_the_cap_is_made(world: World) -> None:
    user = world.identified("u", "a")
    world.tombstone(user, "old")
    assert world.do(alias("u", "new", rules=Rules(5))) == linked(user, "u")


def test_a_merge_beyond_the_cap_is_refused_with_the_counts_of_what_would_be(world: World) -> None:
    user, other = world.identified("u", "a"), world.anonymous("x")
    world.tombstone(other, "old")
    refusal = world.refused(alias("u", "x", rules=Rules(5)))
    assert refusal.name == "TOO_MANY_IDENTIFIERS"
    assert refusal.metadata == {
        "profile_id": uuid_text(user),
        "user_profile_id": uuid_text(user),
        "alias_profile_id": uuid_text(other),
        "identifiers": "4",
        "tombstones": "2",
        "maximum": "5",
    }


def test_a_merge_that_just_fills_the_cap_is_made(world: World) -> None:
    user, other = world.identified("u", "a"), world.anonymous("x")
    world.tombstone(other, "old")
    assert world.do(alias("u", "x", rules=Rules(6))) == merged(user, "u", other)


def test_a_profile_may_have_a_thousand_identifiers_unless_configured(world: World) -> None:
    user = world.identified("u", *(f"a{number}" for number in range(998)))
    assert world.do(alias("u", "thousandth")) == linked(user, "u")
    assert world.refused(alias("u", "one too many")).name == "TOO_MANY_IDENTIFIERS"


# Repeats.


@pytest.mark.parametrize("policy", [ANONYMOUS, ALWAYS])
@pytest.mark.parametrize(
    "wrote",
    ["LINKED", "CREATED", "IDENTIFIED", "MERGED"],
)
def test_an_alias_that_wrote_is_already_linked_when_repeated(
    world: World, wrote: str, policy: v1.MergePolicy.ValueType
) -> None:
    if wrote in ("LINKED", "MERGED"):
        world.identified("u")
    if wrote in ("IDENTIFIED", "MERGED"):
        world.anonymous("a")
    first = world.do(alias("u", "a", policy, create_missing=True))
    assert first.outcome == v1.Outcome.Value(f"OUTCOME_{wrote}")
    before = world.state
    again = world.do(alias("u", "a", policy, create_missing=True))
    assert again == first._replace(outcome=v1.OUTCOME_ALREADY_LINKED, merged=None)
    assert world.state == before


def test_the_user_of_a_merge_may_be_given_by_the_profile_id_that_was_lost_when_it_is_repeated(world: World) -> None:
    user, other = world.anonymous("x"), world.identified("other")
    world.do(alias(user, "other"))
    assert world.do(alias(user, "other")) == already_linked(other, "other")
