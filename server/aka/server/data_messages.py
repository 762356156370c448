"""The messages of profiles' data as the domain's values, and back."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from aka.server.domain.currencies import CURRENCIES
from aka.server.domain.graph import Decision
from aka.server.domain.identifiers import ProfileId, checked_id, checked_profile_id, checked_text, uuid_text
from aka.server.domain.profile_data import Kind, PushToken, Share, share_out
from aka.server.domain.refused import Refused
from aka.server.domain.rules import Rules
from aka.server.domain.track import Subject, TrackActivity, TrackAttributes
from aka.server.errors import AkaError, field_required, invalid_value
from aka.server.json_values import MAX_NAME_BYTES, checked_object, checked_values, read_json, write_json, write_struct
from aka.server.messages import (
    check_size,
    key_of,
    linked_identifier,
    time_of,
    timestamp,
    tombstone_asked,
    user_alias,
    write_time,
)
from aka.server.page_tokens import read_token, write_token
from aka.server.service import Exported, ExportedData, ExportPlace, ExportWanted
from aka.server.status import status_of
from aka.v1 import alias_service_pb2 as v1

M = TypeVar("M")
Item = v1.ProfileAttributes | v1.Event | v1.Purchase | v1.SentMessage
T = TypeVar("T", bound=Item)

MAX_ITEMS: Final = 75
MAX_PROFILES: Final = 50
MAX_QUANTITY: Final = 100
MAX_TOKEN_BYTES: Final = 1024

LISTS: Final = ("attributes", "events", "purchases", "messages")
"""The lists of a TrackRequest, in the order in which they are done."""
FIELDS: Final = frozenset({"identifiers", "attributes", "push_tokens", "events", "purchases", "messages", "orphaned"})
"""What of ExportedProfile can be asked for."""


# From a request: what it wants decided, or read.


def track(request: v1.TrackRequest, rules: Rules) -> list[Decision[ProfileId]]:
    """Read a TrackRequest, a decision an item."""
    lists = {name: getattr(request, name) for name in LISTS}
    if not any(lists.values()):
        check_size(request.attributes, "attributes", MAX_ITEMS)
    for name, items in lists.items():
        if items:
            check_size(items, name, MAX_ITEMS)
    read: Mapping[str, Callable[[Any, Rules], Decision[ProfileId]]] = {
        "attributes": _attributes,
        "events": _event,
        "purchases": _purchase,
        "messages": _message,
    }
    return [_read(read[name], item, rules) for name, items in lists.items() for item in items]


def export_profiles(request: v1.ExportProfilesRequest) -> ExportWanted:
    """Read an ExportProfilesRequest: whose data, what of it, and where to go on."""
    check_size(request.profiles, "profiles", MAX_PROFILES)
    keys = []
    for index, item in enumerate(request.profiles):
        try:
            keys.append(key_of(item))
        except AkaError as error:
            raise error.within(f"profiles[{index}]") from None
    fields = frozenset(request.fields.paths) or FIELDS
    if unknown := sorted(fields - FIELDS):
        raise invalid_value("fields", f"names {unknown[0]!r}; it may name {', '.join(sorted(FIELDS))}")
    begin = read_token(request.page_token, (keys, sorted(fields)), ExportPlace) or ExportPlace(0, None)
    return ExportWanted(keys, fields, begin)


def _read(read: Callable[[T, Rules], Decision[M]], item: T, rules: Rules) -> Decision[M]:
    try:
        return read(item, rules)
    except AkaError as error:
        return Refused(error)


def _attributes(item: v1.ProfileAttributes, rules: Rules) -> TrackAttributes:
    return TrackAttributes(
        _subject(item),
        checked_values(item.attributes, "attributes"),
        checked_values(item.set_once, "set_once"),
        tuple(_push_token(token, f"push_tokens[{index}]") for index, token in enumerate(item.push_tokens)),
        time_of(item),
        rules,
    )


def _event(item: v1.Event, rules: Rules) -> TrackActivity:
    return _activity("event", item, "name", item.name, checked_object(item.properties, "properties"), rules)


def _message(item: v1.SentMessage, rules: Rules) -> TrackActivity:
    return _activity("message", item, "name", item.name, checked_object(item.properties, "properties"), rules)


def _purchase(item: v1.Purchase, rules: Rules) -> TrackActivity:
    if not item.currency:
        raise field_required("currency")
    if item.currency not in CURRENCIES:
        raise invalid_value("currency", "is no currency: a code of ISO 4217 such as EUR is expected, in capitals")
    if not item.HasField("price"):
        raise field_required("price")
    if not math.isfinite(item.price):
        raise invalid_value("price", "is no finite number")
    if not 0 <= item.quantity <= MAX_QUANTITY:
        raise invalid_value("quantity", f"is {item.quantity}; 1 to {MAX_QUANTITY} is expected (0: 1)")
    properties = read_json(checked_object(item.properties, "properties"))
    details = {"currency": item.currency, "price": item.price, "quantity": item.quantity or 1, "properties": properties}
    return _activity("purchase", item, "product_id", item.product_id, write_json(details), rules)


def _activity(
    kind: Kind, item: v1.Event | v1.Purchase | v1.SentMessage, field: str, name: str, details: str, rules: Rules
) -> TrackActivity:
    return TrackActivity(_subject(item), kind, time_of(item), checked_text(name, field, MAX_NAME_BYTES), details, rules)


def _subject(item: Item) -> Subject:
    field, only = item.WhichOneof("user"), item.update_existing_only
    match field:
        case "external_id" | "anonymous_id":
            return Subject(checked_id(getattr(item, field), field), field, only)
        case "user_alias":
            return Subject(user_alias(item.user_alias), field, only)
        case "profile_id":
            return Subject(checked_profile_id(item.profile_id, field), field, only)
        case _:
            raise field_required("external_id")


def _push_token(token: v1.PushToken, field: str) -> PushToken:
    return PushToken(
        checked_text(token.app_id, f"{field}.app_id", MAX_NAME_BYTES),
        checked_text(token.token, f"{field}.token", MAX_TOKEN_BYTES),
        token.device_id and checked_text(token.device_id, f"{field}.device_id", MAX_NAME_BYTES),
    )


# Back: what was done or found, as a response.


def track_response(request: v1.TrackRequest, results: Sequence[ProfileId | AkaError | None]) -> v1.TrackResponse:
    """Write the answer to a TrackRequest."""
    response = v1.TrackResponse()
    places = ((name, index) for name in LISTS for index in range(len(getattr(request, name))))
    done = dict.fromkeys(LISTS, 0)
    for (name, index), result in zip(places, results, strict=True):
        if isinstance(result, AkaError):
            error = status_of(result.within(f"{name}[{index}]"))
            response.errors.add(input_array=name, index=index, error=error, reason=result.reason)
        else:
            done[name] += 1
    for name, number in done.items():
        setattr(response, f"{name}_processed", number)
    return response


async def export_profiles_response(wanted: ExportWanted, exported: Exported) -> v1.ExportProfilesResponse:
    """Write a part of an export, a profile at a time: other calls go on between them."""
    response = v1.ExportProfilesResponse(not_found=exported.not_found)
    for each in exported.found:
        response.profiles.append(_exported(wanted, each))
        await asyncio.sleep(0)
    if exported.next is not None:
        response.next_page_token = write_token((wanted.keys, sorted(wanted.fields)), exported.next)
    return response


def _exported(wanted: ExportWanted, each: ExportedData) -> v1.ExportedProfile:
    fields, page = wanted.fields, each.found.page
    profile = page.profile
    message = v1.ExportedProfile(
        index=each.place,
        profile_id=uuid_text(profile.id),
        user_id=profile.primary or "",
        identified=profile.identified,
        redirected_from=tombstone_asked(wanted.keys[each.place], profile.id),
        created_at=timestamp(profile.created_at),
        updated_at=timestamp(profile.updated_at),
        identifier_count=profile.identifiers,
    )
    if "identifiers" in fields:
        message.identifiers.extend(linked_identifier(*linked, profile) for linked in page.identifiers)
    if "push_tokens" in fields:
        message.push_tokens.extend(v1.PushToken(**token._asdict()) for token in each.found.data.push_tokens)
    own, *orphaned = share_out(profile.id, each.found.data)
    _write_share(message, own, fields)
    if "orphaned" in fields:
        for share in orphaned:
            if share.attributes or share.activities:
                _write_share(message.orphaned.add(profile_id=uuid_text(share.profile)), share, FIELDS)
    return message


def _write_share(message: v1.ExportedProfile | v1.OrphanedData, share: Share, fields: Collection[str]) -> None:
    if "attributes" in fields and share.attributes:
        write_struct({name: read_json(value) for name, value in share.attributes.items()}, message.attributes)
    for kind, at, name, stored in share.activities:
        details = read_json(stored)
        item: v1.Event | v1.Purchase | v1.SentMessage
        match kind:
            case "event" if "events" in fields:
                item = message.events.add(name=name)
            case "purchase" if "purchases" in fields:
                properties = details.pop("properties")
                item, details = message.purchases.add(product_id=name, **details), properties
            case "message" if "messages" in fields and isinstance(message, v1.ExportedProfile):
                item = message.messages.add(name=name)
            case _:
                continue
        write_time(at, item.time)
        write_struct(details, item.properties)
