"""DeleteAlias by example: what may go, and in which order it is refused."""

import pytest

from aka.server.domain.identifiers import Identifier, uuid_text
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, World, alias, create_alias, delete_alias, identify, pair

PAIR = pair("crm", "7")
either = pytest.mark.parametrize("name", [PAIR, "a"], ids=["user alias", "id"])


@either
def test_an_identifier_of_a_profile_is_free_afterwards(world: World, name: Identifier | str) -> None:
    profile = world.identified("u", name)
    assert world.do(delete_alias(name)) == profile
    assert world.whose(name) is None


def test_a_freed_id_may_be_linked_to_another_profile(world: World) -> None:
    world.identified("u", "a")
    other = world.identified("other")
    world.do(delete_alias("a"))
    world.do(alias("other", "a"))
    assert world.whose("a") == other


def test_a_freed_user_aliass_label_may_be_used_for_another_name(world: World) -> None:
    world.identified("u", pair("crm", "1"))
    world.do(delete_alias(pair("crm", "1")))
    assert world.do(create_alias(pair("crm", "2"), "u")).outcome == v1.OUTCOME_LINKED


def test_deleting_an_identifier_is_counted(world: World) -> None:
    profile = world.identified("u", "a", PAIR)
    world.do(delete_alias(PAIR))
    assert (world.headers[profile].identifiers, world.headers[profile].user_aliases) == (2, 0)


def test_an_anonymous_id_may_go_and_is_an_alias_when_it_is_linked_as_one_again(world: World) -> None:
    world.anonymous("x", "y")
    world.do(delete_alias("y"))
    world.do(alias("x", "y"))
    assert not world.is_anonymous_id("y")


@either
def test_an_unknown_identifier_is_not_found(world: World, name: Identifier | str) -> None:
    assert world.refused(delete_alias(name)).name == "ALIAS_NOT_FOUND"


@either
def test_an_unknown_identifier_is_nobodys_where_it_may_be_missing(world: World, name: Identifier | str) -> None:
    assert world.do(delete_alias(name, allow_missing=True)) is None


@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_reserved_value_may_be_unlinked(world: World, allow_missing: bool) -> None:
    profile = world.identified("u", "null")
    assert world.do(delete_alias("null", allow_missing=allow_missing)) == profile


def test_an_unlinked_identifier_is_not_found_when_it_is_unlinked_again(world: World) -> None:
    world.identified("u", "a")
    world.do(delete_alias("a"))
    assert world.refused(delete_alias("a")).name == "ALIAS_NOT_FOUND"


def test_unlinking_may_be_repeated_where_the_identifier_may_be_missing(world: World) -> None:
    world.identified("u", "a")
    world.do(delete_alias("a", allow_missing=True))
    before = world.state
    assert world.do(delete_alias("a", allow_missing=True)) is None
    assert world.state == before


# The profile id, where it is given.


def test_an_identifier_on_the_given_profile_is_unlinked(world: World) -> None:
    profile = world.identified("u", "a")
    assert world.do(delete_alias("a", profile)) == profile


def test_an_identifier_on_another_than_the_given_profile_stays(world: World) -> None:
    profile, other = world.identified("u", "a"), world.identified("other")
    refusal = world.refused(delete_alias("a", other))
    assert refusal.name == "NOT_ON_PROFILE"
    assert refusal.metadata == {"profile_id": uuid_text(other), "alias_profile_id": uuid_text(profile)}


def test_an_identifier_is_not_on_an_unknown_profile(world: World) -> None:
    world.identified("u", "a")
    assert world.refused(delete_alias("a", UNKNOWN)).name == "NOT_ON_PROFILE"


def test_a_tombstones_profile_id_means_its_survivor(world: World) -> None:
    survivor = world.identified("u", "a")
    tombstone = world.tombstone(survivor, "old")
    assert world.do(delete_alias("a", tombstone)) == survivor


def test_a_tombstones_former_id_is_on_its_survivor(world: World) -> None:
    survivor = world.identified("u")
    world.tombstone(survivor, "old")
    assert world.do(delete_alias("old", survivor)) == survivor


# What stays.


def test_the_primary_id_stays(world: World) -> None:
    profile = world.identified("u", "a")
    refusal = world.refused(delete_alias("u"))
    assert refusal.name == "PRIMARY_IDENTIFIER"
    assert refusal.metadata == {"profile_id": uuid_text(profile)}


def test_a_user_alias_with_the_primary_ids_name_may_go(world: World) -> None:
    profile = world.identified("u", pair("crm", "u"))
    assert world.do(delete_alias(pair("crm", "u"))) == profile


@either
def test_a_profiles_only_identifier_stays(world: World, name: Identifier | str) -> None:
    profile = world.anonymous(name)
    refusal = world.refused(delete_alias(name))
    assert refusal.name == "LAST_IDENTIFIER"
    assert refusal.metadata == {"profile_id": uuid_text(profile)}


def test_all_but_one_identifier_of_an_anonymous_profile_may_go(world: World) -> None:
    world.anonymous("x", "y")
    world.do(delete_alias("x"))
    assert world.refused(delete_alias("y")).name == "LAST_IDENTIFIER"


def test_a_tombstones_identifier_that_is_the_survivors_only_one_stays(world: World) -> None:
    survivor = world.anonymous("x")
    world.tombstone(survivor, "old")
    world.do(delete_alias("x"))
    assert world.refused(delete_alias("old")).name == "LAST_IDENTIFIER"


def test_an_identifier_is_not_on_the_profile_before_it_is_the_primary_id(world: World) -> None:
    world.identified("u")
    assert world.refused(delete_alias("u", UNKNOWN)).name == "NOT_ON_PROFILE"


def test_an_identifier_is_not_on_the_profile_before_it_is_the_only_one(world: World) -> None:
    world.anonymous("x")
    assert world.refused(delete_alias("x", UNKNOWN)).name == "NOT_ON_PROFILE"


def test_an_identifier_is_the_primary_id_before_it_is_the_only_one(world: World) -> None:
    world.identified("u")
    assert world.refused(delete_alias("u")).name == "PRIMARY_IDENTIFIER"


def test_an_unknown_identifier_is_not_found_before_it_is_not_on_the_profile(world: World) -> None:
    assert world.refused(delete_alias("a", UNKNOWN)).name == "ALIAS_NOT_FOUND"


def test_an_unknown_identifier_that_may_be_missing_needs_no_profile(world: World) -> None:
    assert world.do(delete_alias("a", UNKNOWN, allow_missing=True)) is None


@pytest.mark.parametrize("former", ["x", "other", PAIR], ids=["id", "primary id", "user alias"])
def test_a_merged_profiles_former_identifiers_may_go(world: World, former: Identifier | str) -> None:
    survivor = world.identified("u")
    world.identified("other", "x", PAIR)
    world.do(alias("u", "other", v1.MERGE_POLICY_ALWAYS))
    assert world.do(delete_alias(former)) == survivor


def test_an_id_that_became_the_primary_id_stays(world: World) -> None:
    world.anonymous("x", "y")
    world.do(identify("x"))
    assert world.refused(delete_alias("x")).name == "PRIMARY_IDENTIFIER"
