"""`Store.transact` and `Store.read_data` over the data of profiles."""

import pytest

from aka.server.domain.profile_data import Activity, PushToken, Share, share_out
from aka.server.domain.track import MAX_ATTRIBUTES
from aka.server.errors import AkaError
from aka.server.store.store import ActivityPlace, AnsweredBefore, Once
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, happen, identify, identify_with, pair, subject, track
from tests.store.clock import Clock
from tests.store.tenant import Tenant

DEVICE = pair("device", "7")


async def own(tenant: Tenant, key: str) -> Share:
    """Return what counts as a profile's own."""
    found = await tenant.data(key)
    return share_out(found.page.profile.id, found.data)[0]


async def test_data_is_read_as_it_was_put(tenant: Tenant) -> None:
    value = {"nested": ["ä", None, {"x": 1.5}], "\u2028": "'\"\\"}
    await tenant.batch(
        track("ann", {"a": value, "gone": None}, "t1", "t2", at=7),
        happen("ann", "later", at=9),
        happen("ann", "bought", "purchase", at=-5),
        happen("ann", "told", "message", at=9),
    )
    found = await tenant.data("ann")
    assert found.page.profile == await tenant.header("ann")
    assert share_out(found.page.profile.id, found.data)[0].attributes == track("ann", {"a": value}).attributes
    assert found.data.push_tokens == [PushToken("app", "t1", ""), PushToken("app", "t2", "")]
    assert [stored.activity for stored in found.data.activities] == [
        Activity("purchase", -5, "bought", "{}"),
        Activity("event", 9, "later", "{}"),
        Activity("message", 9, "told", "{}"),
    ]


async def test_a_key_that_is_nobodys_has_no_data(tenant: Tenant) -> None:
    assert await tenant.store.read_data(tenant.workspace, DEVICE, 1, ["event"], None, 1, None) is None


async def test_another_workspaces_data_is_never_seen(tenant: Tenant, other_tenant: Tenant) -> None:
    await tenant.batch(track("ann", {"a": 1}, "token"), happen("ann", "seen"))
    await other_tenant.do(identify("ann"))
    assert (await own(other_tenant, "ann")).attributes == {}
    found = await other_tenant.data("ann")
    assert not found.data.push_tokens
    assert not found.data.activities


async def test_data_is_told_by_any_identifier_and_by_a_tombstones_profile_id(tenant: Tenant) -> None:
    [lost, *_] = await tenant.batch(track("old", {"a": 1}), track("ann", {"b": 2}), create_alias(DEVICE, "ann"))
    await tenant.do(alias("ann", "old", v1.MERGE_POLICY_ALWAYS))
    expected = await tenant.data("ann")
    assert (await own(tenant, "ann")).attributes == {"a": "1", "b": "2"}
    for key in (lost, DEVICE, "old"):
        assert await tenant.data(key) == expected


async def test_what_a_merge_left_behind_is_told_by_its_tombstone(tenant: Tenant) -> None:
    [device, *_] = await tenant.batch(
        track(DEVICE, {"a": 1}, "token"), happen(DEVICE, "seen", at=1), happen(DEVICE, "told", "message", at=2)
    )
    await tenant.batch(track("ann", {"b": 2}), identify("ann", DEVICE, orphan=True))
    found = await tenant.data("ann")
    assert share_out(found.page.profile.id, found.data) == [
        Share(found.page.profile.id, {"b": "2"}, [Activity("message", 2, "told", "{}")]),
        Share(device, {"a": "1"}, [Activity("event", 1, "seen", "{}")]),
    ]
    assert found.data.push_tokens == [PushToken("app", "token", "")]


async def test_tracking_sees_the_attributes_of_tombstones_in_the_order_of_their_merges(tenant: Tenant) -> None:
    await tenant.batch(track("ann"), track("bob", {"a": "bob"}), track("eve", {"a": "eve", "b": "eve"}))
    await tenant.do(alias("bob", "eve", v1.MERGE_POLICY_ALWAYS))
    await tenant.do(alias("ann", "bob", v1.MERGE_POLICY_ALWAYS))
    await tenant.do(track("ann", once={"a": "late", "b": "late", "c": "late"}))
    assert (await own(tenant, "ann")).attributes == {"a": '"bob"', "b": '"eve"', "c": '"late"'}


async def test_an_older_value_does_not_replace_the_stored_one(tenant: Tenant) -> None:
    await tenant.do(track("ann", {"a": "new"}, at=500))
    await tenant.do(track("ann", {"a": "old"}, at=499))
    assert (await own(tenant, "ann")).attributes == {"a": '"new"'}


async def test_callers_who_track_at_once_lose_nothing(tenant: Tenant) -> None:
    decisions = [happen("ann", str(number), at=number) for number in range(40)]
    assert not [result for result in await tenant.together(*decisions) if isinstance(result, AkaError)]
    activities = (await own(tenant, "ann")).activities
    assert [activity.name for activity in activities] == [str(number) for number in range(40)]


async def test_data_that_is_put_while_its_profile_is_merged_is_the_survivors(tenant: Tenant) -> None:
    await tenant.batch(track("cookie", {"a": 0}), identify("ann"))
    merge = alias("ann", "cookie", v1.MERGE_POLICY_ALWAYS)
    await tenant.together(
        *(happen("cookie", "before") for _ in range(5)), merge, *(happen("cookie", "after") for _ in range(5))
    )
    assert len((await own(tenant, "ann")).activities) == 10


async def test_one_batch_sets_an_attribute_twice_and_the_last_counts(tenant: Tenant) -> None:
    await tenant.batch(track("ann", {"a": 1}, "token"), track("ann", {"a": 2}, "token"))
    assert (await own(tenant, "ann")).attributes == {"a": "2"}
    assert len((await tenant.data("ann")).data.push_tokens) == 1


async def test_a_profile_that_is_made_and_merged_in_one_group_keeps_its_data(tenant: Tenant) -> None:
    await tenant.batch(track("ann", {"b": 2}), track(DEVICE, {"a": 1}), happen(DEVICE, "seen"), identify("ann", DEVICE))
    share = await own(tenant, "ann")
    assert share.attributes == {"a": "1", "b": "2"}
    assert len(share.activities) == 1


async def test_attributes_that_come_with_an_identify_are_put_with_it_or_not_at_all(tenant: Tenant) -> None:
    await tenant.batch(track(subject("cookie", "anonymous_id"), {"a": 1, "b": 1}), track("ann", {"b": 2}))
    await tenant.do(identify_with({"b": 3}, "ann", "cookie"))
    assert (await own(tenant, "cookie")).attributes == {"a": "1", "b": "3"}
    assert await tenant.refused(identify_with({"large": "x" * MAX_ATTRIBUTES}, "bob", "jar")) == "TOO_MUCH_DATA"
    assert [await tenant.find(key) for key in ("bob", "jar")] == [None, None]


async def test_what_is_refused_or_tried_out_puts_nothing(tenant: Tenant) -> None:
    assert await tenant.refused(track(subject("ann", existing_only=True), {"a": 1})) == "USER_NOT_FOUND"
    await tenant.do(track("ann", {"a": 1}), validate_only=True)
    assert await tenant.find("ann") is None
    await tenant.do(identify("ann"))
    await tenant.batch(track("ann", {"a": 1}, "token"), happen("ann", "seen"), validate_only=True)
    found = await tenant.data("ann")
    assert not (found.data.attributes or found.data.push_tokens or found.data.activities)


async def test_a_repeat_by_request_id_adds_nothing(tenant: Tenant) -> None:
    once = Once(bytes(16), "Track", b"body", lambda results: b"first")
    await tenant.batch(happen("ann", "seen"), once=once)
    with pytest.raises(AnsweredBefore):
        await tenant.batch(happen("ann", "seen"), once=once)
    assert len((await own(tenant, "ann")).activities) == 1


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_activities_are_read_in_pages_over_all_tombstones(tenant: Tenant, limit: int) -> None:
    await tenant.batch(*(happen(who, f"{who}{at}", at=at) for who in ("ann", "bob") for at in (3, 1, 1, 2)))
    await tenant.do(alias("ann", "bob", v1.MERGE_POLICY_ALWAYS))
    found: list[Activity] = []
    after, more = None, True
    while more:
        part = await tenant.data("ann", after=after, limit=limit)
        assert len(part.data.activities) <= limit
        found += (stored.activity for stored in part.data.activities)
        origin, number, activity = part.data.activities[-1]
        after, more = ActivityPlace(activity.at, origin, number), part.more
    assert sorted(activity.name for activity in found) == sorted(
        f"{who}{at}" for who in ("ann", "bob") for at in (3, 1, 1, 2)
    )
    assert [activity.at for activity in found] == sorted(activity.at for activity in found)


async def test_only_the_kinds_that_are_asked_for_are_read(tenant: Tenant) -> None:
    await tenant.batch(happen("ann", "seen"), happen("ann", "bought", "purchase"), happen("ann", "told", "message"))
    found = await tenant.store.read_data(
        tenant.workspace, (await tenant.header("ann")).id, 0, ["message"], None, 9, None
    )
    assert found is not None
    assert [stored.activity.name for stored in found.data.activities] == ["told"]
    assert not found.page.identifiers


async def test_a_merge_that_is_not_of_all_data_leaves_when_the_survivor_was_made(tenant: Tenant, clock: Clock) -> None:
    await tenant.do(track(DEVICE, {"a": 1}))
    clock.now += 10
    await tenant.do(identify("ann"))
    made = (await tenant.header("ann")).created_at
    await tenant.do(identify("ann", DEVICE, orphan=True))
    assert (await tenant.header("ann")).created_at == made
