"""Braze's `POST /users/export/ids`: users with their data."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from aka.server.gateway import body, values
from aka.server.gateway.answer import Answer
from aka.server.gateway.braze_items import PAIR, a_request, user_alias
from aka.server.gateway.calls import Caller, Stub
from aka.server.gateway.operation import Operation
from aka.server.gateway.refusal import MALFORMED, Refusal
from aka.server.gateway.schema import Schema, an_answer, an_object, array, number, optional_text, or_null, text
from aka.v1 import alias_service_pb2 as v1

MAX_PAGES: Final = 50
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of ExportProfiles, in one answer: Braze's endpoint has no pages."""

PROFILE_FIELDS: Final = (
    *("first_name", "last_name", "email", "dob", "home_city", "country", "phone", "language", "time_zone", "gender"),
    *("email_subscribe", "push_subscribe"),
    *("attributed_campaign", "attributed_source", "attributed_adgroup", "attributed_ad"),
)
"""Attributes that Braze tells beside its `custom_attributes`."""

_SOURCES: Final = {
    "external_id": None,
    "user_aliases": "identifiers",
    "braze_id": None,
    "created_at": None,
    **dict.fromkeys((*PROFILE_FIELDS, "custom_attributes"), "attributes"),
    "custom_events": "events",
    "purchases": "purchases",
    "campaigns_received": "messages",
    "push_tokens": "push_tokens",
    "orphaned": "orphaned",
    **dict.fromkeys(
        ("apps", "canvases_received", "cards_clicked", "devices", "last_coordinates", "random_bucket", "uninstalled_at")
    ),
}
"""What `fields_to_export` may name, and the field of ExportedProfile to ask for; None: that is always there, or never.

(Not `total_revenue`: it would take exchange rates, and one that is left out is read as 0.)
"""

_OTHERS: Final = ("device_id", "email_address", "phone")
"""What Braze finds users by besides."""


class Asked(NamedTuple):
    """One user that is asked for."""

    path: str
    """Where, in the request."""
    sent: str
    """What stands for it among the `invalid_user_ids`."""
    identifier: v1.Identifier


async def export(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Export users with their data: up to 50, by `external_ids`, `user_aliases` and `braze_id` (the profile id).

    `fields_to_export` says what of them; absent, all of it. `orphaned` has what was left behind on each profile that
    was merged into the user. What a user has nothing of is left out.
    """
    fields = body.as_object(sent)
    asked = _asked(fields)
    wanted = _wanted(fields)
    parts, unknown = await _read(asked, wanted, caller, stub, _refusal(fields, wanted))
    users: dict[str, dict[str, Any]] = {}
    for found in parts:
        if found[0].profile_id not in users:
            users[found[0].profile_id] = await _user(found, wanted)
    invalid = [asked[place].sent for place in unknown]
    return Answer(201, {"users": [*users.values()], "message": "success", "invalid_user_ids": invalid})


def _asked(fields: dict[str, Any]) -> list[Asked]:
    def by_id(index: int, given: Any) -> Asked:
        path = f"external_ids[{index}]"
        if not isinstance(given, str):
            raise body.wrong_type(path, "a string", given)
        return Asked(path, given, v1.Identifier(id=given))

    def by_pair(index: int, given: Any) -> Asked:
        path = f"user_aliases[{index}]"
        pair = user_alias(given, path)
        return Asked(path, pair.alias_name, v1.Identifier(user_alias=pair))

    beyond = Asked("", "", v1.Identifier())
    asked = []
    for name, read in (("external_ids", by_id), ("user_aliases", by_pair)):
        if fields.get(name) is not None:
            asked += body.batch(body.array(fields, name), "profiles", read, beyond)
    braze_id = body.text(fields, "braze_id")
    if braze_id is not None:
        asked.append(Asked("braze_id", braze_id, v1.Identifier(profile_id=braze_id)))
    return asked


def _wanted(fields: dict[str, Any]) -> list[str]:
    if fields.get("fields_to_export") is None:
        return [*_SOURCES]
    named = body.array(fields, "fields_to_export")
    for index, name in enumerate(named):
        if not isinstance(name, str):
            raise body.wrong_type(f"fields_to_export[{index}]", "a string", name)
    return named or [*_SOURCES]


def _refusal(fields: dict[str, Any], wanted: Sequence[str]) -> Refusal | None:
    """Return what is against a request of a good shape."""
    for name in wanted:
        if name not in _SOURCES:
            return Refusal(MALFORMED, f"fields_to_export names {name!r}; it may name {', '.join(_SOURCES)}")
    for name in _OTHERS:
        if fields.get(name) is not None:
            return Refusal(MALFORMED, f"{name} finds nobody here; ask by external_ids, user_aliases or braze_id")
    return None


async def _read(
    asked: Sequence[Asked], wanted: Sequence[str], caller: Caller, stub: Stub, refusal: Refusal | None
) -> tuple[list[list[v1.ExportedProfile]], list[int]]:
    """Return all pages' parts of each user that is there, and the places of those that are not."""

    def as_sent(path: str) -> str:
        place, _, rest = path.removeprefix("profiles[").partition("]")
        if not place.isdigit():
            return "external_ids and user_aliases together"
        return asked[int(place)].path + rest.removesuffix(".id").removesuffix(".profile_id").replace(".user_alias", "")

    sources = {source for name in wanted if (source := _SOURCES.get(name)) is not None}
    call = v1.ExportProfilesRequest(profiles=[each.identifier for each in asked])
    call.fields.paths.extend(sorted(sources) or ["push_tokens"])  # none would ask for all
    parts: defaultdict[int, list[v1.ExportedProfile]] = defaultdict(list)
    unknown: list[int] = []
    size, changed = 0, False
    for _ in range(MAX_PAGES):
        try:
            page = await caller.call(stub.ExportProfiles, call, v1.ExportProfilesResponse, refusal)
        except Refusal as refused:
            raise refused.renamed(as_sent) from None
        if any(
            _is_changed(part, parts[part.index]) for part in page.profiles
        ):  # it would be told by halves: begin again
            parts.clear()
            unknown.clear()
            size, changed, call.page_token = 0, True, ""
            continue
        for part in page.profiles:
            parts[part.index].append(part)
        unknown += page.not_found
        size += page.ByteSize()
        call.page_token = page.next_page_token
        if not page.next_page_token:
            return [parts[place] for place in sorted(parts)], unknown
        if size > MAX_BYTES:
            break
    else:
        if changed:
            raise Refusal("CONFLICT", "A user was changed again and again while its data was read; repeat the call")
    raise Refusal(
        MALFORMED,
        "The users have more data than one answer may have: ask for fewer of them, or of fields_to_export, or page"
        " through ExportProfiles",
    )


def _is_changed(part: v1.ExportedProfile, before: Sequence[v1.ExportedProfile]) -> bool:
    """Whether a profile was changed, by a merge perhaps, since the pages before told of it, where they did."""
    return bool(before) and (part.profile_id, part.updated_at) != (before[0].profile_id, before[0].updated_at)


async def _user(parts: Sequence[v1.ExportedProfile], wanted: Sequence[str]) -> dict[str, Any]:
    first = parts[0]
    if "user_aliases" in wanted and len(first.identifiers) < first.identifier_count:
        raise Refusal(
            MALFORMED,
            f"A user has {first.identifier_count} identifiers, more than an export tells: leave user_aliases out of"
            " fields_to_export, and ask GetProfile for them",
        )
    pairs = (linked.identifier.user_alias for linked in first.identifiers if linked.identifier.HasField("user_alias"))
    messages = await _grouped("messages", (part.messages for part in parts), _event)
    left: defaultdict[str, list[v1.OrphanedData]] = defaultdict(list)
    for part in parts:
        for orphaned in part.orphaned:
            left[orphaned.profile_id].append(orphaned)
    told = {
        "external_id": first.user_id,
        "user_aliases": [{"alias_name": pair.alias_name, "alias_label": pair.alias_label} for pair in pairs],
        "braze_id": first.profile_id,
        "created_at": first.created_at.ToJsonString(),
        **await _data(parts),
        "campaigns_received": [
            {"name": entry["name"], "last_received": entry["last"], "messages": entry["messages"]} for entry in messages
        ],
        "push_tokens": [
            {"app": token.app_id, "token": token.token} | ({"device_id": token.device_id} if token.device_id else {})
            for token in first.push_tokens
        ],
        "orphaned": [{"braze_id": profile_id, **_some(await _data(data))} for profile_id, data in left.items()],
    }
    return {name: value for name, value in _some(told).items() if name in wanted}


async def _data(parts: Sequence[v1.ExportedProfile] | Sequence[v1.OrphanedData]) -> dict[str, Any]:
    """Tell attributes, events and purchases, a user's or orphaned ones."""
    attributes = values.plain(parts[0].attributes)
    return {
        **{name: attributes.pop(name) for name in PROFILE_FIELDS if name in attributes},
        "custom_attributes": attributes,
        "custom_events": await _grouped("events", (part.events for part in parts), _event),
        "purchases": await _grouped("purchases", (part.purchases for part in parts), _purchase),
    }


def _some(told: dict[str, Any]) -> dict[str, Any]:
    """Leave out what there is nothing of. An attribute that Braze tells by itself may be empty."""
    return {name: value for name, value in told.items() if value or name in PROFILE_FIELDS}


async def _grouped(
    field: str, parts: Iterable[Sequence[Any]], tell: Callable[[Any], tuple[str, int, dict[str, Any]]]
) -> list[Any]:
    """Return an entry a name, as Braze has it: the first time, the last and how many. `field` has all of them.

    `tell` returns an item's name, how many it counts, and the item as `/users/track` takes it. The oldest come first.
    """
    entries: dict[str, dict[str, Any]] = {}
    for items in parts:
        for item in items:
            name, count, told = tell(item)
            time = item.time.ToJsonString()
            entry = entries.setdefault(name, {"name": name, "first": time, "last": time, "count": 0, field: []})
            entry["last"] = time
            entry["count"] += count
            properties = {"properties": values.plain(item.properties)} if item.properties.fields else {}
            entry[field].append(told | {"time": time} | properties)
        if items:
            await asyncio.sleep(0)  # for other requests: a page's take milliseconds
    return [*entries.values()]


def _event(event: v1.Event | v1.SentMessage) -> tuple[str, int, dict[str, Any]]:
    return event.name, 1, {"name": event.name}


def _purchase(purchase: v1.Purchase) -> tuple[str, int, dict[str, Any]]:
    told = {
        "product_id": purchase.product_id,
        "currency": purchase.currency,
        "price": purchase.price,
        "quantity": purchase.quantity,
    }
    return purchase.product_id, purchase.quantity, told


_ANY: Final[Schema] = {"type": "object", "additionalProperties": True}


def _told_grouped(name: str, properties: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schema of what `_grouped` tells of items with these properties."""
    item = an_answer(
        properties | {"time": text("When it was.", format="date-time"), "properties": _ANY}, optional=("properties",)
    )
    return {
        "name": text("Its name."),
        "first": text("When it was first.", format="date-time"),
        "last": text("When it was last.", format="date-time"),
        "count": number("How often."),
        name: array(item, "Each, the oldest first, as `/users/track` takes it.", minItems=1),
    }


_EVENT: Final[dict[str, Schema]] = {"name": text("What it was.")}
_PURCHASE: Final[dict[str, Schema]] = {
    "product_id": text("What was bought."),
    "currency": text("A currency of ISO 4217."),
    "price": {"type": "number", "description": "What one of it cost."},
    "quantity": number("How many."),
}
_MESSAGE: Final = _told_grouped("messages", _EVENT)

_DATA: Final[dict[str, Schema]] = {
    **{name: {"description": "The attribute of this name."} for name in PROFILE_FIELDS},
    "custom_attributes": _ANY | {"description": "The other attributes."},
    "custom_events": array(an_answer(_told_grouped("events", _EVENT)), "The events by name."),
    "purchases": array(an_answer(_told_grouped("purchases", _PURCHASE)), "The purchases by product."),
}
_ORPHANED: Final = {"braze_id": text("The profile id of the tombstone.", format="uuid")} | _DATA
_USER: Final[dict[str, Schema]] = {
    "external_id": text("The primary id. An alias-only user has none."),
    "user_aliases": array(an_answer({name: text() for name in PAIR}), "All of them."),
    "braze_id": text("The profile id.", format="uuid"),
    "created_at": text("When the profile was made.", format="date-time"),
    **_DATA,
    "campaigns_received": array(
        an_answer({"name": _MESSAGE["name"], "last_received": _MESSAGE["last"], "messages": _MESSAGE["messages"]}),
        "The messages that the user was sent, by name.",
    ),
    "push_tokens": array(
        an_answer({"app": text(), "token": text(), "device_id": text()}, optional=("device_id",)), "The push tokens."
    ),
    "orphaned": array(
        an_answer(_ORPHANED, optional=tuple(_DATA)), "What did not follow when profiles were merged into this one."
    ),
}

OPERATION: Final = Operation(
    ("/users/export/ids",),
    export,
    request=a_request(
        {
            "external_ids": or_null(array(text(minLength=1), maxItems=body.MAX_ITEMS["profiles"])),
            "user_aliases": or_null(array(an_object(PAIR), maxItems=body.MAX_ITEMS["profiles"])),
            "braze_id": optional_text("A profile id."),
            "fields_to_export": or_null(array({"enum": [*_SOURCES]}, "Absent or empty: all.")),
            **{name: {"type": "null", "description": "Finds nobody here."} for name in _OTHERS},
        }
    ),
    example={"external_ids": ["user_123"], "fields_to_export": ["external_id", "custom_attributes"]},
    status=201,
    answer=an_answer(
        {
            "users": array(an_answer(_USER, optional=tuple(_USER)), "Those that there are, each once."),
            "message": {"const": "success"},
            "invalid_user_ids": array(text(), "What is nobody's of what was asked for; of a user alias its name."),
        }
    ),
)
