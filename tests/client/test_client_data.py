"""`track` and `export_profiles` of both clients, over the wire."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from aka.client import (
    Conflict,
    Event,
    InvalidValue,
    OrphanedData,
    ProfileAttributes,
    ProfileId,
    Purchase,
    PushToken,
    SentMessage,
    TooMuchData,
    UserAlias,
)
from aka.client._data_messages import join
from aka.v1 import alias_service_pb2 as v1
from tests.client.calls import Calls
from tests.grpc.wire import UNKNOWN_UUID

DEVICE = UserAlias("device", "7")
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = PushToken("app", "push-token-1")
EVENT = Event("seen", time=TIME, properties={"page": "/", "deep": [1.0, {"a": None}]})
PURCHASE = Purchase("hat", "EUR", 9.5, quantity=2, time=TIME)
MESSAGE = SentMessage("welcome", time=TIME)


async def test_data_is_exported_as_it_was_tracked(client: Calls) -> None:
    tracked = await client.track(
        [ProfileAttributes(DEVICE, {"plan": "free", "gone": None}, {"plan": "late", "since": 2026}, (TOKEN,))],
        events=[Event("seen", DEVICE, TIME, EVENT.properties)],
        purchases=[Purchase("hat", "EUR", 9.5, DEVICE, 2, TIME)],
        messages=[SentMessage("welcome", DEVICE, TIME)],
    )
    assert (tracked.processed, tracked.refused) == (4, ())
    found, nobody = await client.export_profiles([DEVICE, "nobody"])
    assert nobody is None
    assert (found.attributes, found.push_tokens) == ({"plan": "free", "since": 2026}, (TOKEN,))
    assert (found.events, found.purchases, found.messages) == ((EVENT,), (PURCHASE,), (MESSAGE,))
    assert [linked.identifier for linked in found.identifiers] == [DEVICE]


async def test_what_was_orphaned_is_told_under_its_tombstone(client: Calls) -> None:
    await client.track(
        [ProfileAttributes(DEVICE, {"a": 1}), ProfileAttributes("ann")], events=[Event("seen", DEVICE, TIME)]
    )
    merged = await client.identify("ann", DEVICE)
    (found,) = await client.export_profiles([merged.merged_profile_id], fields=["orphaned"])
    assert found.redirected_from == merged.merged_profile_id
    assert found.orphaned == (OrphanedData(merged.merged_profile_id, {"a": 1}, (Event("seen", time=TIME),), ()),)


async def test_identify_sets_attributes_with_the_rest_or_not_at_all(client: Calls) -> None:
    await client.identify("ann", anonymous_id="cookie", attributes={"plan": "pro"}, time=TIME)
    await client.identify("ann", attributes={"plan": "old", "age": 7}, time=TIME - timedelta(days=1))
    (found,) = await client.export_profiles(["cookie"])
    assert found.attributes == {"plan": "pro", "age": 7}
    with pytest.raises(InvalidValue):
        await client.identify("bob", attributes={"": 1})
    assert not (await client.resolve("bob")).found
    with pytest.raises(TypeError, match="attributes must be what JSON can write"):
        await client.identify("bob", attributes={"a": object()})


async def test_an_item_that_is_refused_has_its_error(client: Calls) -> None:
    tracked = await client.track(
        events=[Event("seen", ProfileId(UNKNOWN_UUID)), Event("seen", anonymous_id="cookie")],
        purchases=[Purchase("hat", "XYZ", 1, "ann")],
    )
    assert tracked.processed == 1
    assert [(item.items, item.index, item.error.reason) for item in tracked.refused] == [
        ("events", 0, "PROFILE_NOT_FOUND"),
        ("purchases", 0, "INVALID_VALUE"),
    ]
    assert isinstance(tracked.refused[1].error, InvalidValue)


async def test_too_much_data_is_an_error_of_its_own(client: Calls) -> None:
    tokens = tuple(PushToken("app", f"push-token-{number}") for number in range(101))
    (refused,) = (await client.track([ProfileAttributes("ann", push_tokens=tokens)])).refused
    assert isinstance(refused.error, TooMuchData)


async def test_an_export_of_several_pages_is_one_answer(client: Calls) -> None:
    for start in range(0, 600, 75):
        await client.track(events=[Event(str(number), DEVICE) for number in range(start, start + 75)])
    await client.track([ProfileAttributes("ann", {"a": 1})])
    device, ann = await client.export_profiles([DEVICE, "ann"])
    assert [event.name for event in device.events] == [str(number) for number in range(600)]
    assert ann.attributes == {"a": 1}
    await client.identify("ann", DEVICE)
    (whole,) = await client.export_profiles(["ann"])
    assert [event.name for event in whole.orphaned[0].events] == [str(number) for number in range(600)]


CHANGED = {
    "merged away": v1.ExportedProfile(index=1, profile_id="survivor"),
    "changed": v1.ExportedProfile(index=1, profile_id="profile", updated_at=Timestamp(seconds=1)),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED.keys())
def test_a_profile_that_was_changed_between_pages_is_a_conflict(changed: v1.ExportedProfile) -> None:
    with pytest.raises(Conflict, match="changed while its data was read"):
        join([v1.ExportedProfile(index=1, profile_id="profile"), changed])


@pytest.mark.parametrize(
    "item",
    [
        ProfileAttributes(),
        ProfileAttributes("ann", anonymous_id="cookie"),
        ProfileAttributes("ann", {"a": object()}),
        ProfileAttributes("ann", time=TIME.replace(tzinfo=None)),
    ],
    ids=["nobody", "two", "no JSON", "no zone"],
)
async def test_an_item_that_cannot_be_sent_is_a_type_error(client: Calls, item: ProfileAttributes) -> None:
    with pytest.raises(TypeError):
        await client.track([item])
