"""The data of profiles as messages, and messages as it."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from aka.client._data_values import (
    Event,
    ExportedProfile,
    OrphanedData,
    ProfileAttributes,
    Purchase,
    PushToken,
    RefusedItem,
    SentMessage,
    Tracked,
)
from aka.client._errors import Conflict, error_of_item
from aka.client._identifiers import Identifier, ProfileId, UserAlias
from aka.client._messages import (
    identifier,
    linked_identifier,
    profile_id,
    request_id_text,
    struct,
    time_of,
    timestamp,
    user_alias,
)
from aka.v1 import alias_service_pb2 as v1


def track_request(
    attributes: Iterable[ProfileAttributes],
    events: Iterable[Event],
    purchases: Iterable[Purchase],
    messages: Iterable[SentMessage],
    *,
    validate_only: bool,
    request_id: str | uuid.UUID | None,
) -> v1.TrackRequest:
    """Return a request of Track, which always has a `request_id`: without one it must not be repeated."""
    return v1.TrackRequest(
        attributes=map(_attributes, attributes),
        events=map(_event, events),
        purchases=map(_purchase, purchases),
        messages=map(_message, messages),
        validate_only=validate_only,
        request_id=request_id_text(request_id or uuid.uuid4()),
    )


def tracked(answer: v1.TrackResponse, request_id: str) -> Tracked:
    """Return what Track did; `request_id` is the call's."""
    done = answer.attributes_processed, answer.events_processed, answer.purchases_processed, answer.messages_processed
    refused = (
        RefusedItem(item.input_array, item.index, error_of_item(item.error, request_id)) for item in answer.errors
    )
    return Tracked(sum(done), tuple(refused))


def export_request(profiles: Sequence[Identifier], fields: Iterable[str] | None) -> v1.ExportProfilesRequest:
    """Return a request of ExportProfiles, for the first page."""
    request = v1.ExportProfilesRequest(profiles=map(identifier, profiles))
    request.fields.paths.extend(fields or ())
    return request


def join(parts: Iterable[v1.ExportedProfile]) -> Mapping[int, v1.ExportedProfile]:
    """Return the profiles of all pages by their places, each with all that several pages told of it.

    `Conflict` where a profile was changed between them, so that it would be told by halves.
    """
    whole: dict[int, v1.ExportedProfile] = {}
    for part in parts:
        if part.index not in whole:
            whole[part.index] = part
            continue
        first = whole[part.index]
        if (part.profile_id, part.updated_at) != (first.profile_id, first.updated_at):
            why = "A profile was changed while its data was read, page by page; repeat the call"
            raise Conflict(grpc.StatusCode.ABORTED, why, "CONFLICT")
        first.events.extend(part.events)
        first.purchases.extend(part.purchases)
        first.messages.extend(part.messages)
        left = {orphaned.profile_id: orphaned for orphaned in first.orphaned}
        for orphaned in part.orphaned:
            if orphaned.profile_id in left:
                left[orphaned.profile_id].events.extend(orphaned.events)
                left[orphaned.profile_id].purchases.extend(orphaned.purchases)
            else:
                first.orphaned.append(orphaned)
    return whole


def exported_profile(found: v1.ExportedProfile) -> ExportedProfile:
    """Return a profile with its data."""
    return ExportedProfile(
        ProfileId(found.profile_id),
        found.user_id or None,
        found.identified,
        tuple(map(linked_identifier, found.identifiers)),
        found.identifier_count,
        _values(found.attributes),
        tuple(PushToken(token.app_id, token.token, token.device_id or None) for token in found.push_tokens),
        _events(found.events),
        _purchases(found.purchases),
        tuple(
            SentMessage(message.name, time=time_of(message.time), properties=_values(message.properties))
            for message in found.messages
        ),
        tuple(
            OrphanedData(
                ProfileId(orphaned.profile_id),
                _values(orphaned.attributes),
                _events(orphaned.events),
                _purchases(orphaned.purchases),
            )
            for orphaned in found.orphaned
        ),
        time_of(found.created_at),
        time_of(found.updated_at),
        profile_id(found.redirected_from),
    )


def _events(events: Iterable[v1.Event]) -> tuple[Event, ...]:
    return tuple(Event(event.name, time=time_of(event.time), properties=_values(event.properties)) for event in events)


def _purchases(purchases: Iterable[v1.Purchase]) -> tuple[Purchase, ...]:
    return tuple(
        Purchase(
            purchase.product_id,
            purchase.currency,
            purchase.price,
            quantity=purchase.quantity,
            time=time_of(purchase.time),
            properties=_values(purchase.properties),
        )
        for purchase in purchases
    )


def _attributes(item: ProfileAttributes) -> v1.ProfileAttributes:
    tokens = (
        v1.PushToken(app_id=one.app_id, token=one.token, device_id=one.device_id or "") for one in item.push_tokens
    )
    return v1.ProfileAttributes(
        **_common(item),
        attributes=struct("attributes", item.attributes),
        set_once=struct("set_once", item.set_once),
        push_tokens=tokens,
    )


def _event(item: Event) -> v1.Event:
    return v1.Event(**_common(item), name=item.name, properties=struct("properties", item.properties))


def _message(item: SentMessage) -> v1.SentMessage:
    return v1.SentMessage(**_common(item), name=item.name, properties=struct("properties", item.properties))


def _purchase(item: Purchase) -> v1.Purchase:
    return v1.Purchase(
        **_common(item),
        product_id=item.product_id,
        currency=item.currency,
        price=item.price,
        quantity=item.quantity,
        properties=struct("properties", item.properties),
    )


def _common(item: ProfileAttributes | Event | Purchase | SentMessage) -> dict[str, Any]:
    """Return whose an item is, and when. TypeError unless it is one person's, or where its time has no zone."""
    if (item.user is None) == (item.anonymous_id is None):
        raise TypeError(f"{type(item).__name__}: give a user or an anonymous_id")
    common: dict[str, Any] = {"update_existing_only": item.update_existing_only}
    match item.user:
        case None:
            common["anonymous_id"] = item.anonymous_id
        case UserAlias():
            common["user_alias"] = user_alias(item.user)
        case ProfileId():
            common["profile_id"] = item.user
        case _:
            common["external_id"] = item.user
    if item.time is not None:
        common["time"] = timestamp(item.time)
    return common


def _values(struct: Struct) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json_format.MessageToDict(struct)
    return found
