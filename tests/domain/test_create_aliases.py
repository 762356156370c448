"""CreateAliases by example: a user alias or an anonymous id for a profile, or an anonymous profile of it."""

import pytest

from aka.server.domain.identifiers import Identifier, ProfileId, uuid_text
from aka.server.domain.rules import Answer, Rules
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import World, create_alias, pair

PAIR = pair("crm", "7")
either = pytest.mark.parametrize("alias", [PAIR, "x"], ids=["user alias", "anonymous id"])

Either = Identifier | str


def linked(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_LINKED, profile, user_id)


def already_linked(profile: ProfileId, user_id: str) -> Answer:
    return Answer(v1.OUTCOME_ALREADY_LINKED, profile, user_id)


# Without an external id.


@either
def test_a_free_alias_makes_an_anonymous_profile(world: World, alias: Either) -> None:
    answer = world.do(create_alias(alias))
    made = world.whose(alias)
    assert made is not None
    assert answer == Answer(v1.OUTCOME_CREATED, made, "")
    assert not world.headers[made].identified


@either
def test_an_alias_that_made_a_profile_is_already_linked_when_repeated(world: World, alias: Either) -> None:
    first = world.do(create_alias(alias))
    before = world.state
    assert world.do(create_alias(alias)) == first._replace(outcome=v1.OUTCOME_ALREADY_LINKED)
    assert world.state == before


@either
def test_an_alias_of_an_identified_profile_is_already_linked_there(world: World, alias: Either) -> None:
    profile = world.identified("u", alias)
    assert world.do(create_alias(alias)) == already_linked(profile, "u")


@either
def test_an_alias_of_a_tombstone_is_already_linked_to_its_survivor(world: World, alias: Either) -> None:
    survivor = world.identified("u")
    world.tombstone(survivor, alias)
    assert world.do(create_alias(alias)) == already_linked(survivor, "u")


def test_a_primary_id_that_comes_as_an_anonymous_id_is_already_linked(world: World) -> None:
    profile = world.identified("u")
    assert world.do(create_alias("u")) == already_linked(profile, "u")
    assert not world.is_anonymous_id("u")


def test_the_same_name_under_two_labels_makes_two_profiles(world: World) -> None:
    world.do(create_alias(pair("crm", "7")))
    world.do(create_alias(pair("tax", "7")))
    assert len(world.headers) == 2


def test_a_user_alias_and_an_id_share_no_namespace(world: World) -> None:
    world.identified("7")
    assert world.do(create_alias(pair("crm", "7"))).outcome == v1.OUTCOME_CREATED


def test_a_free_reserved_anonymous_id_makes_no_profile(world: World) -> None:
    refusal = world.refused(create_alias("null"))
    assert refusal.name == "RESERVED_IDENTIFIER"
    assert refusal.metadata == {"field": "anonymous_id", "value": "null"}


def test_a_reserved_value_may_be_a_label_and_a_name(world: World) -> None:
    assert world.do(create_alias(pair("null", "undefined"))).outcome == v1.OUTCOME_CREATED


# With an external id.


def test_an_anonymous_id_that_is_the_external_id_is_self_alias(world: World) -> None:
    world.identified("u")
    refusal = world.refused(create_alias("u", "u"))
    assert refusal.name == "SELF_ALIAS"
    assert refusal.field == "anonymous_id"


def test_an_unknown_id_is_self_alias_before_it_is_not_found(world: World) -> None:
    assert world.refused(create_alias("u", "u")).name == "SELF_ALIAS"


def test_a_user_alias_whose_name_is_the_external_id_is_no_self_alias(world: World) -> None:
    profile = world.identified("u")
    assert world.do(create_alias(pair("crm", "u"), "u")) == linked(profile, "u")


@either
def test_an_unknown_external_id_is_not_found(world: World, alias: Either) -> None:
    refusal = world.refused(create_alias(alias, "u"))
    assert refusal.name == "USER_NOT_FOUND"
    assert refusal.metadata == {"external_id": "u"}


@either
def test_an_unknown_external_id_is_not_found_though_the_alias_is_taken(world: World, alias: Either) -> None:
    world.anonymous(alias)
    assert world.refused(create_alias(alias, "u")).name == "USER_NOT_FOUND"


@either
@pytest.mark.parametrize("external", ["u", "a"], ids=["primary", "alias"])
def test_a_free_alias_is_linked_by_any_id_of_an_identified_profile(world: World, alias: Either, external: str) -> None:
    profile = world.identified("u", "a")
    assert world.do(create_alias(alias, external)) == linked(profile, "u")
    assert world.whose(alias) == profile


@either
def test_a_free_alias_is_linked_to_an_anonymous_profile(world: World, alias: Either) -> None:
    profile = world.anonymous("y")
    assert world.do(create_alias(alias, "y")) == linked(profile, "")


@either
def test_a_free_alias_is_linked_to_the_survivor_by_a_tombstones_former_id(world: World, alias: Either) -> None:
    survivor = world.identified("u")
    world.tombstone(survivor, "old")
    assert world.do(create_alias(alias, "old")) == linked(survivor, "u")


@either
def test_an_alias_that_was_linked_is_already_linked_when_repeated(world: World, alias: Either) -> None:
    world.identified("u")
    first = world.do(create_alias(alias, "u"))
    before = world.state
    assert world.do(create_alias(alias, "u")) == first._replace(outcome=v1.OUTCOME_ALREADY_LINKED)
    assert world.state == before


@either
def test_an_alias_on_another_profile_is_taken(world: World, alias: Either) -> None:
    user, other = world.identified("u"), world.anonymous(alias)
    refusal = world.refused(create_alias(alias, "u"))
    assert refusal.name == "ALIAS_TAKEN"
    assert refusal.metadata == {"user_profile_id": uuid_text(user), "alias_profile_id": uuid_text(other)}


def test_another_name_under_a_label_of_the_profile_is_refused(world: World) -> None:
    user = world.identified("u", pair("crm", "1"))
    refusal = world.refused(create_alias(pair("crm", "2"), "u"))
    assert refusal.name == "LABEL_TAKEN"
    assert refusal.metadata == {"label": "crm", "profile_id": uuid_text(user)}


def test_another_label_of_the_profile_is_linked(world: World) -> None:
    user = world.identified("u", pair("crm", "1"))
    assert world.do(create_alias(pair("tax", "1"), "u")) == linked(user, "u")


def test_labels_that_differ_in_case_are_two_labels(world: World) -> None:
    user = world.identified("u", pair("crm", "1"))
    assert world.do(create_alias(pair("CRM", "2"), "u")) == linked(user, "u")


def test_a_label_on_a_tombstone_of_the_profile_counts(world: World) -> None:
    user = world.identified("u")
    world.tombstone(user, pair("crm", "1"))
    assert world.refused(create_alias(pair("crm", "2"), "u")).name == "LABEL_TAKEN"


def test_a_taken_alias_is_refused_before_its_label(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    world.anonymous(pair("crm", "2"))
    assert world.refused(create_alias(pair("crm", "2"), "u")).name == "ALIAS_TAKEN"


def test_a_taken_label_is_refused_before_the_cap(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    assert world.refused(create_alias(pair("crm", "2"), "u", rules=Rules(2))).name == "LABEL_TAKEN"


def test_a_free_reserved_anonymous_id_is_refused(world: World) -> None:
    world.identified("u")
    assert world.refused(create_alias("null", "u")).name == "RESERVED_IDENTIFIER"


def test_a_reserved_anonymous_id_is_refused_before_the_cap(world: World) -> None:
    world.identified("u", "a")
    assert world.refused(create_alias("null", "u", rules=Rules(2))).name == "RESERVED_IDENTIFIER"


def test_an_unknown_external_id_is_not_found_before_a_reserved_anonymous_id_is_seen(world: World) -> None:
    assert world.refused(create_alias("null", "u")).name == "USER_NOT_FOUND"


@either
def test_an_alias_beyond_the_cap_is_refused_with_the_counts(world: World, alias: Either) -> None:
    user = world.identified("u")
    world.tombstone(user, "old")
    refusal = world.refused(create_alias(alias, "u", rules=Rules(3)))
    assert refusal.name == "TOO_MANY_IDENTIFIERS"
    assert refusal.metadata == {
        "profile_id": uuid_text(user),
        "identifiers": "3",
        "tombstones": "1",
        "maximum": "3",
    }


@either
def test_an_alias_that_just_fills_the_cap_is_linked(world: World, alias: Either) -> None:
    user = world.identified("u")
    world.tombstone(user, "old")
    assert world.do(create_alias(alias, "u", rules=Rules(4))) == linked(user, "u")


# Kinds.


@pytest.mark.parametrize("external", [None, "u"])
def test_an_id_that_came_as_an_anonymous_id_is_one(world: World, external: str | None) -> None:
    world.identified("u")
    world.do(create_alias("x", external))
    assert world.is_anonymous_id("x")


@pytest.mark.parametrize("external", [None, "u"])
def test_a_user_alias_is_no_anonymous_id(world: World, external: str | None) -> None:
    world.identified("u")
    world.do(create_alias(PAIR, external))
    assert not world.links[PAIR].anonymous


def test_a_user_alias_counts_as_an_identifier_and_as_a_user_alias(world: World) -> None:
    user = world.identified("u")
    world.do(create_alias(PAIR, "u"))
    assert (world.headers[user].identifiers, world.headers[user].user_aliases) == (2, 1)
