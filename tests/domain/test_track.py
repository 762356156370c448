"""Track: data on profiles, whom it makes, and what it refuses."""

import pytest

from aka.server.domain.identifiers import id_of
from aka.server.domain.profile_data import Activity
from aka.server.domain.track import MAX_ACTIVITIES, MAX_ATTRIBUTES, MAX_PUSH_TOKENS
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, World, alias, call, happen, identify, pair, subject, track

DEVICE = pair("device", "7")


@pytest.fixture
def world() -> World:
    """An empty one."""
    return World()


def test_an_unknown_external_id_makes_an_identified_profile(world: World) -> None:
    ann = world.do(track("ann", {"plan": "free"}))
    assert world.headers[ann].primary == "ann"
    assert world.attributes("ann") == {"plan": '"free"'}


def test_an_unknown_user_alias_makes_an_anonymous_profile(world: World) -> None:
    assert not world.headers[world.do(happen(DEVICE, "seen"))].identified
    assert world.whose(DEVICE) is not None


def test_an_unknown_anonymous_id_makes_an_anonymous_profile(world: World) -> None:
    assert not world.headers[world.do(happen(subject("cookie", "anonymous_id"), "seen"))].identified
    assert world.is_anonymous_id("cookie")


def test_an_unknown_profile_id_makes_nobody(world: World) -> None:
    assert world.refused(happen(UNKNOWN, "seen")).name == "PROFILE_NOT_FOUND"


@pytest.mark.parametrize(("key", "reason"), [("ann", "USER_NOT_FOUND"), (DEVICE, "ALIAS_NOT_FOUND")])
def test_an_item_for_existing_profiles_only_makes_nobody(world: World, key: str, reason: str) -> None:
    assert world.refused(track(subject(key, existing_only=True), {"a": 1})).name == reason
    assert not world.tracked


def test_a_reserved_id_makes_nobody(world: World) -> None:
    refusal = world.refused(happen("null", "seen"))
    assert (refusal.name, refusal.field) == ("RESERVED_IDENTIFIER", "external_id")


def test_an_external_id_of_an_anonymous_profile_does_not_identify_it(world: World) -> None:
    cookie = world.anonymous("cookie")
    assert world.do(track("cookie", {"a": 1})) == cookie
    assert not world.headers[cookie].identified


def test_data_of_a_tombstones_profile_id_is_the_survivors(world: World) -> None:
    ann = world.identified("ann")
    lost = world.tombstone(ann, "old")
    assert world.do(track(lost, {"a": 1})) == ann


def test_a_value_replaces_the_one_before_and_null_removes_it(world: World) -> None:
    world.do(track("ann", {"a": 1, "b": 1, "c": 1}))
    world.do(track("ann", {"a": 2, "b": None}))
    assert world.attributes("ann") == {"a": "2", "c": "1"}


def test_a_value_older_than_the_stored_one_does_not_replace_it(world: World) -> None:
    world.do(track("ann", {"a": "new", "b": "new"}, at=500))
    world.do(track("ann", {"a": "old"}, at=499))
    world.do(track("ann", {"b": "as new"}, at=500))
    assert world.attributes("ann") == {"a": '"new"', "b": '"as new"'}


def test_what_was_removed_is_not_brought_back_by_an_older_value(world: World) -> None:
    world.do(track("ann", {"a": None}, at=500))
    world.do(track("ann", {"a": "old"}, at=499))
    assert world.attributes("ann") == {}


def test_a_value_of_the_future_is_of_now(world: World) -> None:
    world.do(track("ann", {"a": "wrong clock"}, at=world.now + 10**9))
    world.do(track("ann", {"a": "right"}, at=world.now + 1))
    assert world.attributes("ann") == {"a": '"right"'}


def test_what_is_set_once_stays(world: World) -> None:
    world.do(track("ann", {"a": 1}, once={"a": 2, "b": 2}))
    world.do(track("ann", once={"a": 3, "b": 3, "c": 3}))
    assert world.attributes("ann") == {"a": "1", "b": "2", "c": "3"}


def test_what_was_removed_can_be_set_once(world: World) -> None:
    world.do(track("ann", {"a": None}))
    world.do(track("ann", once={"a": 3}))
    assert world.attributes("ann") == {"a": "3"}


def test_attributes_as_a_peer_published_them(world: World) -> None:
    world.do(track(DEVICE, {"a": 1, "b": 2}))
    world.do(track("ann", {"b": 3, "c": 4, "d": 5}))
    world.do(identify("ann", DEVICE))
    world.do(track("ann", {"d": 6, "e": 7}))
    world.do(track("ann", once={"a": 8, "f": 9}))
    assert world.attributes("ann") == {"a": "1", "b": "3", "c": "4", "d": "6", "e": "7", "f": "9"}


def test_nothing_but_push_tokens_and_messages_follows_into_a_user_by_merge_behavior_none(world: World) -> None:
    device = world.do(track(DEVICE, {"a": 1}, "token"))
    for kind in ("event", "purchase", "message"):
        world.do(happen(DEVICE, f"a {kind}", kind, at=5))
    world.do(track("ann", {"b": 2}))
    world.do(identify("ann", DEVICE, orphan=True))
    own, orphaned = world.shares("ann")
    assert (own.attributes, own.activities) == ({"b": "2"}, [Activity("message", 5, "a message", "{}")])
    assert (orphaned.profile, orphaned.attributes) == (device, {"a": "1"})
    assert [activity.kind for activity in orphaned.activities] == ["event", "purchase"]


def test_attributes_of_a_profile_that_was_left_with_its_own_do_not_count(world: World) -> None:
    world.batch(track(DEVICE, {"a": 1}), track("ann"))
    world.do(identify("ann", DEVICE, orphan=True))
    world.do(track("ann", once={"a": 2}))
    assert world.attributes("ann") == {"a": "2"}


def test_of_several_that_were_merged_the_first_fills_a_gap(world: World) -> None:
    world.batch(track("ann"), track("bob", {"a": "bob"}), track("eve", {"a": "eve", "b": "eve"}))
    world.do(alias("ann", "bob", v1.MERGE_POLICY_ALWAYS))
    world.do(alias("ann", "eve", v1.MERGE_POLICY_ALWAYS))
    assert world.attributes("ann") == {"a": '"bob"', "b": '"eve"'}


def test_a_batch_sees_the_data_and_the_merges_before(world: World) -> None:
    world.do(track("cookie", {"a": "stored", "b": "stored"}))
    world.batch(
        track("ann", {"b": "new"}),
        alias("ann", "cookie", v1.MERGE_POLICY_ALWAYS),
        track("ann", once={"a": "late", "b": "late", "c": "late"}),
    )
    assert world.attributes("ann") == {"a": '"stored"', "b": '"new"', "c": '"late"'}


def test_what_is_only_tried_out_is_not_kept_or_seen_by_others(world: World) -> None:
    world.group(
        call(track("ann", {"a": 1}), happen("ann", "seen"), validate_only=True),
        call(track("ann", once={"a": 2}), happen("ann", "seen")),
    )
    assert world.attributes("ann") == {"a": "2"}
    assert [activity.name for activity in world.shares("ann")[0].activities] == ["seen"]


def test_what_is_tried_out_sees_what_others_of_the_group_did(world: World) -> None:
    [_, [tried]] = world.group(
        call(happen("ann", "seen")), call(track(subject("ann", existing_only=True), {"a": 2}), validate_only=True)
    )
    assert tried == world.whose("ann")


def test_attributes_beyond_the_bound_are_refused(world: World) -> None:
    world.do(track("ann", {"a": "x" * (MAX_ATTRIBUTES - 3)}))
    refusal = world.refused(track("ann", {"b": 1}))
    assert (refusal.name, refusal.metadata["maximum"]) == ("TOO_MUCH_DATA", str(MAX_ATTRIBUTES))


def test_attributes_that_merges_brought_beyond_the_bound_can_be_made_less(world: World) -> None:
    world.batch(track("ann", {"a": "x" * 60_000}), track("bob", {"b": "x" * 60_000}))
    world.do(alias("ann", "bob", v1.MERGE_POLICY_ALWAYS))
    assert world.refused(track("ann", {"c": 1})).name == "TOO_MUCH_DATA"
    world.do(track("ann", {"b": None}))
    world.do(track("ann", {"c": 1}))
    assert world.attributes("ann").keys() == {"a", "c"}


def test_push_tokens_beyond_the_bound_are_refused_and_one_that_is_there_counts_once(world: World) -> None:
    tokens = [f"token-{number}" for number in range(MAX_PUSH_TOKENS)]
    world.do(track("ann", None, *tokens))
    world.do(track("ann", None, *tokens))
    assert world.refused(track("ann", None, "one more")).name == "TOO_MUCH_DATA"


def test_events_beyond_the_bound_are_refused(world: World) -> None:
    ann = world.do(happen("ann", "first"))
    world.tracked[-1] = world.tracked[-1]._replace(number=MAX_ACTIVITIES)
    refusal = world.refused(happen("ann", "one more"))
    assert (refusal.name, refusal.metadata["amount"]) == ("TOO_MUCH_DATA", str(MAX_ACTIVITIES + 1))
    assert world.whose(id_of("ann")) == ann
