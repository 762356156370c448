"""Profiles' data: what is tracked, and calls that track and export it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from aka.v1 import alias_service_pb2 as v1
from benchmarks.calls import no_item_failed, tried
from benchmarks.load import Calls, Driver, Number, mark
from benchmarks.servers import Server

EVENTS: Final = 75
"""Events of a Track."""
EXPORTED: Final = 50
"""Profiles of an ExportProfiles."""
EVENT: Final = "opened"
PROPERTIES: Final[dict[str, Any]] = {"screen": "settings", "seconds": 12.5}
PROPERTIES_JSON: Final = msgspec.json.encode(PROPERTIES).decode()

TIME: Final = 1_764_000_000
"""Seconds since the epoch."""

_ROUNDS: Final = 3
"""Of events, purchases and messages of a profile that is exported."""
_TIME_BYTES: Final = 5
"""By which one time of an answer may be longer than another."""
_TIMES: Final = 4
"""Of a profile that is exported: when it was made and changed, and when its two identifiers were linked."""


def track(server: Server, key: str, ids: int) -> Calls:
    """Track of events, each of a random one of the users that `calls.new_profiles` made."""
    event = v1.Event(external_id=f"id-{mark(0)}", name=EVENT)
    event.properties.update(PROPERTIES)
    request = v1.TrackRequest(events=[event] * EVENTS)
    return tried(server, key, "Track", request, [Number(below=ids)], _all_done, items=EVENTS)


def fill_profiles(driver: Driver, server: Server, number: int) -> None:
    """Make profiles, known as `user-00000000` and so on.

    Each has a second id, 3 attributes, a push token, and 3 events, 3 purchases and 3 messages.
    """
    users = [f"user-{mark(item)}" for item in range(EXPORTED)]
    numbers = [Number(base=item, step=EXPORTED) for item in range(EXPORTED)]
    links = v1.BatchAliasRequest(
        requests=[v1.AliasRequest(user_id=user, alias_id=f"alias-of-{user}", create_missing=True) for user in users]
    )
    made = [tried(server, driver.key, "BatchAlias", links, numbers, no_item_failed)]
    made += (tried(server, driver.key, "Track", _filling(users), numbers, _all_done) for _ in range(_ROUNDS))
    for calls in made:
        driver.run(server, calls, callers=4, seconds=300.0, most=number // EXPORTED)


def _filling(users: Sequence[str]) -> v1.TrackRequest:
    request = v1.TrackRequest()
    time = Timestamp(seconds=TIME)
    for user in users:
        attributes = request.attributes.add(external_id=user)
        attributes.attributes.update({"first_name": "Ada", "plan": "pro", "seats": 3})
        attributes.push_tokens.add(app_id="app", token=f"token-of-{user}")
        request.events.add(external_id=user, name=EVENT, time=time).properties.update(PROPERTIES)
        request.purchases.add(external_id=user, product_id="book", currency="EUR", price=12.5, time=time)
        request.messages.add(external_id=user, name="welcome", time=time)
    return request


def export_profiles(server: Server, key: str, number: int) -> Calls:
    """ExportProfiles of random ones of those that `fill_profiles` made, each with all that it has."""
    message = v1.ExportProfilesRequest(profiles=[v1.Identifier(id=f"user-{mark(0)}")] * EXPORTED)
    calls = tried(server, key, "ExportProfiles", message, [Number(below=number)], _all_whole, items=EXPORTED)
    calls.slack = EXPORTED * _TIMES * _TIME_BYTES
    return calls


def _all_done(answer: v1.TrackResponse) -> bool:
    return not answer.errors


def _all_whole(answer: v1.ExportProfilesResponse) -> bool:
    wholes = [len(each.identifiers) == 2 and len(each.attributes.fields) == 3 for each in answer.profiles]
    wholes += (len(each.events) == len(each.purchases) == len(each.messages) == _ROUNDS for each in answer.profiles)
    return len(answer.profiles) == EXPORTED and all(wholes) and not answer.next_page_token
