"""ImportLinks by example: a link is made whatever of it is there already, and repeated without harm."""

import pytest

from aka.server.domain.identifiers import Identifier
from aka.server.domain.rules import Answer, Rules
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import World, import_link, pair, profile_id

GIVEN = profile_id(7 << 64)
"""A profile id that is nobody's until a link gives it."""
PAIR = pair("crm", "7")

each = pytest.mark.parametrize(
    ("alias", "anonymous"), [("a", False), ("a", True), (PAIR, False)], ids=["alias", "anonymous id", "user alias"]
)


# What an empty world makes of a link.


@each
def test_a_link_makes_its_user_with_the_given_profile_id(
    world: World, alias: str | Identifier, anonymous: bool
) -> None:
    answer = world.do(import_link("u", alias, profile=GIVEN, anonymous=anonymous))
    assert answer == Answer(v1.OUTCOME_CREATED, GIVEN, "u")
    assert [world.whose("u"), world.whose(alias), world.whose(GIVEN)] == [GIVEN] * 3
    assert world.headers[GIVEN].primary == "u"


@pytest.mark.parametrize("anonymous", [False, True])
def test_an_id_is_an_anonymous_id_where_it_comes_as_one(world: World, anonymous: bool) -> None:
    world.do(import_link("u", "a", anonymous=anonymous))
    assert world.is_anonymous_id("a") == anonymous


def test_a_user_alone_is_made_with_a_new_profile_id(world: World) -> None:
    answer = world.do(import_link("u"))
    assert answer == Answer(v1.OUTCOME_CREATED, world.whose("u"), "u")


@each
def test_links_with_a_profile_id_alone_make_one_anonymous_profile(
    world: World, alias: str | Identifier, anonymous: bool
) -> None:
    assert world.do(import_link(None, alias, profile=GIVEN, anonymous=anonymous)).outcome == v1.OUTCOME_CREATED
    assert world.do(import_link(None, "b", profile=GIVEN)) == Answer(v1.OUTCOME_LINKED, GIVEN, "")
    assert not world.headers[GIVEN].identified


def test_an_alias_alone_makes_an_anonymous_profile_once(world: World) -> None:
    first = world.do(import_link(None, PAIR))
    assert first.outcome == v1.OUTCOME_CREATED
    assert world.do(import_link(None, PAIR)) == first._replace(outcome=v1.OUTCOME_ALREADY_LINKED)


# What is there already.


@each
def test_a_link_that_is_there_is_already_linked_whatever_its_profile_id_is(
    world: World, alias: str | Identifier, anonymous: bool
) -> None:
    profile = world.identified("u", alias)
    world.anonymous("x")
    before = world.state
    for given in (None, GIVEN, profile, world.whose("x")):
        answer = world.do(import_link("u", alias, profile=given, anonymous=anonymous))
        assert answer == Answer(v1.OUTCOME_ALREADY_LINKED, profile, "u")
    assert world.state == before


def test_an_alias_is_linked_to_the_profile_of_any_of_its_ids(world: World) -> None:
    profile = world.identified("u", "v")
    assert world.do(import_link("v", "a", profile=GIVEN)) == Answer(v1.OUTCOME_LINKED, profile, "u")
    assert world.whose(GIVEN) is None


def test_a_tombstones_profile_id_means_its_survivor(world: World) -> None:
    survivor = world.identified("u")
    tombstone = world.tombstone(survivor, "t")
    assert world.do(import_link(None, "a", profile=tombstone)) == Answer(v1.OUTCOME_LINKED, survivor, "u")


def test_a_user_becomes_the_primary_id_of_the_anonymous_profile_that_it_is_on(world: World) -> None:
    profile = world.anonymous("u", "x")
    assert world.do(import_link("u", "a")) == Answer(v1.OUTCOME_IDENTIFIED, profile, "u")
    assert not world.is_anonymous_id("u")


def test_a_user_joins_the_anonymous_profile_of_the_profile_id_with_its_alias(world: World) -> None:
    profile = world.anonymous("x")
    assert world.do(import_link("u", PAIR, profile=profile)) == Answer(v1.OUTCOME_IDENTIFIED, profile, "u")
    assert world.whose(PAIR) == profile
    assert world.headers[profile].identifiers == 3


def test_a_new_user_joins_the_anonymous_profile_of_its_alias(world: World) -> None:
    profile = world.anonymous("a")
    assert world.do(import_link("u", "a", profile=GIVEN)) == Answer(v1.OUTCOME_IDENTIFIED, profile, "u")


def test_an_anonymous_profile_is_merged_into_the_users(world: World) -> None:
    profile, other = world.identified("u"), world.anonymous("a")
    assert world.do(import_link("u", "a")) == Answer(v1.OUTCOME_MERGED, profile, "u", other)


# What is refused.


def test_an_alias_that_is_the_user_is_self_alias(world: World) -> None:
    refusal = world.refused(import_link("u", "u", anonymous=True))
    assert (refusal.name, refusal.field) == ("SELF_ALIAS", "anonymous_id")


def test_a_user_and_a_profile_id_of_two_profiles_are_refused(world: World) -> None:
    world.identified("u")
    assert world.refused(import_link("u", "a", profile=world.anonymous("x"))).name == "NOT_ON_PROFILE"


def test_a_taken_alias_is_refused_where_no_profile_has_the_profile_id(world: World) -> None:
    world.anonymous("a")
    refusal = world.refused(import_link(None, "a", profile=GIVEN, policy=v1.MERGE_POLICY_ALWAYS))
    assert (refusal.name, refusal.metadata["alias_id"]) == ("ALIAS_TAKEN", "a")


@pytest.mark.parametrize("known", [False, True], ids=["new user", "known user"])
def test_two_identified_profiles_are_joined_by_always_alone_and_a_user_counts_as_one(world: World, known: bool) -> None:
    world.identified("a")
    if known:
        world.anonymous("u")
    never, anonymous, always = (v1.MERGE_POLICY_NEVER, v1.MERGE_POLICY_ANONYMOUS, v1.MERGE_POLICY_ALWAYS)
    assert world.refused(import_link("u", "a", policy=never)).name == "ALIAS_TAKEN"
    assert world.refused(import_link("u", "a", policy=anonymous)).name == "IDENTIFIED_PROFILE"
    outcome = world.do(import_link("u", "a", policy=always)).outcome
    assert outcome == (v1.OUTCOME_MERGED if known else v1.OUTCOME_LINKED)


def test_joining_two_identified_profiles_needs_the_permission(world: World) -> None:
    world.identified("u"), world.identified("a")
    link = import_link("u", "a", policy=v1.MERGE_POLICY_ALWAYS, may_merge=False)
    assert world.refused(link).name == "PERMISSION_MISSING"


def test_another_user_joins_the_identified_profile_of_the_profile_id_by_always_alone(world: World) -> None:
    profile = world.identified("u")
    assert world.refused(import_link("v", profile=profile)).name == "IDENTIFIED_PROFILE"
    answer = world.do(import_link("v", profile=profile, policy=v1.MERGE_POLICY_ALWAYS))
    assert answer == Answer(v1.OUTCOME_LINKED, profile, "u")


def test_a_refused_user_alias_says_which(world: World) -> None:
    world.identified("u"), world.identified("v", PAIR)
    refusal = world.refused(import_link("u", PAIR))
    assert refusal.message.startswith("The user alias is on another identified profile")
    assert refusal.metadata.items() >= {"alias_label": "crm", "alias_name": "7"}.items()


@pytest.mark.parametrize(
    ("user", "alias", "field"), [("null", "a", "user_id"), ("u", "null", "alias_id"), ("null", None, "user_id")]
)
def test_a_reserved_value_is_not_linked(world: World, user: str, alias: str | None, field: str) -> None:
    refusal = world.refused(import_link(user, alias))
    assert (refusal.name, refusal.field) == ("RESERVED_IDENTIFIER", field)


def test_a_second_name_under_a_label_is_refused(world: World) -> None:
    world.identified("u", PAIR)
    assert world.refused(import_link("u", pair("crm", "8"))).name == "LABEL_TAKEN"


def test_a_user_and_an_alias_count_as_two_against_the_cap(world: World) -> None:
    profile = world.anonymous("x", "y")
    three, four = Rules(max_identifiers=3), Rules(max_identifiers=4)
    assert world.refused(import_link("u", "a", profile=profile, rules=three)).name == "TOO_MANY_IDENTIFIERS"
    assert world.do(import_link("u", "a", profile=profile, rules=four)).outcome == v1.OUTCOME_IDENTIFIED
