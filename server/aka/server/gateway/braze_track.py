"""Braze's `POST /users/track`: attributes, events and purchases of users."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from aka.server.gateway import body, values
from aka.server.gateway.answer import Answer
from aka.server.gateway.braze_items import USER_ALIAS, a_request, failed, failed_items, user_alias
from aka.server.gateway.calls import Caller, Stub
from aka.server.gateway.operation import Operation
from aka.server.gateway.refusal import MALFORMED, Refusal, refusal_of
from aka.server.gateway.schema import Schema, an_answer, an_object, array, number, optional_text, or_null
from aka.v1 import alias_service_pb2 as v1

T = TypeVar("T")
Item = v1.ProfileAttributes | v1.Event | v1.Purchase

NO_VALID_DATA: Final = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
"""Braze's message where nothing could be done."""

MAX_INT32: Final = 2**31 - 1

ARRAYS: Final = ("attributes", "events", "purchases")
"""Of a request."""

_NO_ATTRIBUTES: Final = frozenset(
    {
        *("external_id", "user_alias", "braze_id", "_update_existing_only", "push_tokens"),
        *("push_token_import", "_merge_objects"),
    }
)
"""Fields of an attributes object that are no attributes."""

_OPERATIONS: Final = frozenset({"inc", "add", "remove", "$add", "$remove", "$update"})
"""What Braze does to an attribute where its value is an object of these."""

_NOBODY: Final = {
    "USER_NOT_FOUND": "No profile has this external_id, and _update_existing_only makes none",
    "ALIAS_NOT_FOUND": "No profile has this user_alias; create it first, or send _update_existing_only as false",
    "PROFILE_NOT_FOUND": "No profile has this braze_id",
}


async def track(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Put `attributes`, `events` and `purchases` on users, up to 75 of each.

    Each names its user by an `external_id`, a `user_alias` or a `braze_id` (the profile id), and is done or fails by
    itself. Where nothing could be done the status is 400.
    """
    fields = body.as_object(sent)
    given = [name for name in ARRAYS if fields.get(name) is not None]
    faults: dict[tuple[str, int], str] = {}
    asked = await caller.read(_request, {name: body.array(fields, name) for name in given}, faults)
    nothing = None if any(fields[name] for name in given) else Refusal(MALFORMED, NO_VALID_DATA)
    answered = await caller.call(stub.Track, asked, v1.TrackResponse, nothing)
    errors = [
        failed(faults.get((item.input_array, item.index)) or _why(item), item.input_array, item.index)
        for item in answered.errors
    ]
    done = {f"{name}_processed": getattr(answered, f"{name}_processed") for name in given}
    if not any(done.values()):
        return Answer(400, {"message": NO_VALID_DATA, "errors": errors})
    return Answer(201, done | {"message": "success"} | ({"errors": errors} if errors else {}))


def _request(arrays: Mapping[str, list[Any]], faults: dict[tuple[str, int], str]) -> v1.TrackRequest:
    """Read the items of the arrays; what is wrong with one goes into `faults`."""
    asked = v1.TrackRequest()
    for name, items in arrays.items():
        read, empty = _READ[name]
        getattr(asked, name).extend(body.batch(items, name, partial(_read, read, empty, name, faults), empty()))
    return asked


def _read(
    read: Callable[[dict[str, Any], str], T],
    empty: Callable[[], T],
    name: str,
    faults: dict[tuple[str, int], str],
    index: int,
    item: Any,
) -> T:
    """Read an item. One that cannot be read is sent empty, so that it keeps its place, counts, and fails there."""
    within = f"{name}[{index}]"
    try:
        return read(body.as_object(item, within), f"{within}.")
    except Refusal as refusal:
        faults[name, index] = refusal.message
        return empty()


def _attributes(item: dict[str, Any], within: str) -> v1.ProfileAttributes:
    for name in ("push_token_import", "_merge_objects"):
        if body.flag(item, name, within):
            raise Refusal(MALFORMED, f"{within}{name} cannot be true: aka has no such thing")
    attributes = {name: value for name, value in item.items() if name not in _NO_ATTRIBUTES}
    for name, value in attributes.items():
        if isinstance(value, dict) and value and value.keys() <= _OPERATIONS:
            raise Refusal(MALFORMED, f"{within}{name} would change the value that is there; send the whole new value")
    tokens = body.array(item, "push_tokens", within) if item.get("push_tokens") is not None else []
    return v1.ProfileAttributes(
        **_user(item, within),
        attributes=values.struct(attributes, within.removesuffix(".")),
        push_tokens=[_push_token(token, f"{within}push_tokens[{index}]") for index, token in enumerate(tokens)],
    )


def _push_token(given: Any, name: str) -> v1.PushToken:
    token = body.as_object(given, name)
    return v1.PushToken(
        app_id=body.text(token, "app_id", f"{name}.") or "",
        token=body.text(token, "token", f"{name}.") or "",
        device_id=body.text(token, "device_id", f"{name}.") or "",
    )


def _event(item: dict[str, Any], within: str) -> v1.Event:
    name = body.text(item, "name", within) or ""
    return v1.Event(**_user(item, within), name=name, **_happened(item, within))


def _purchase(item: dict[str, Any], within: str) -> v1.Purchase:
    quantity = body.number(item, "quantity", within)
    if quantity is not None and not (quantity.is_integer() and 1 <= quantity <= MAX_INT32):
        raise Refusal(MALFORMED, f"{within}quantity is {quantity:g}; a whole number from 1 on is expected")
    return v1.Purchase(
        **_user(item, within),
        product_id=body.text(item, "product_id", within) or "",
        currency=body.text(item, "currency", within) or "",
        price=body.number(item, "price", within),
        quantity=int(quantity or 0),
        **_happened(item, within),
    )


def _user(item: dict[str, Any], within: str) -> dict[str, Any]:
    """Read whose an item is, and whether to make nobody. Who has no external id is made only where it says so."""
    pair = item.get("user_alias")
    user = {
        "external_id": body.text(item, "external_id", within),
        "user_alias": None if pair is None else user_alias(pair, f"{within}user_alias"),
        "profile_id": body.text(item, "braze_id", within),
    }
    if sum(value is not None for value in user.values()) > 1:
        raise Refusal(MALFORMED, f"{within}external_id, user_alias and braze_id are three names of a user; give one")
    only = body.flag(item, "_update_existing_only", within)
    return user | {"update_existing_only": pair is not None if only is None else only}


def _happened(item: dict[str, Any], within: str) -> dict[str, Any]:
    """Read when it was, and its properties."""
    time = body.text(item, "time", within)
    return {
        "time": None if time is None else values.time(time, f"{within}time"),
        "properties": values.struct(body.members(item, "properties", within), f"{within}properties"),
    }


_READ: Final[Mapping[str, tuple[Callable[[dict[str, Any], str], Item], Callable[[], Item]]]] = {
    "attributes": (_attributes, v1.ProfileAttributes),
    "events": (_event, v1.Event),
    "purchases": (_purchase, v1.Purchase),
}


def _why(item: v1.RefusedItem) -> str:
    refusal = refusal_of(item.error)
    return _NOBODY.get(refusal.reason) or refusal.renamed(_as_sent).message


def _as_sent(path: str) -> str:
    """Return the path in the request of a field that the call has at `path`."""
    path = re.sub(r"^(attributes\[\d+\])\.attributes", r"\1", path)
    return re.sub(r"^(\w+\[\d+\])\.profile_id$", r"\1.braze_id", path)


_USER: Final[dict[str, Schema]] = {
    "external_id": optional_text("Any id of the user. One that is unknown is made."),
    "user_alias": USER_ALIAS,
    "braze_id": optional_text("The user's profile id."),
    "_update_existing_only": {
        "type": ["boolean", "null"],
        "description": "Make nobody. Where the user is named by a `user_alias`, absent is true.",
    },
}
_PROPERTIES: Final[Schema] = {"type": ["object", "null"], "additionalProperties": True}
_TIME: Final = optional_text("ISO 8601; without a zone: UTC. Absent: now.")

_PUSH_TOKEN: Final = an_object(
    {
        "app_id": optional_text("The app. An item with a token without it fails."),
        "token": optional_text("The token. An item with a token without it fails."),
        "device_id": optional_text("The device."),
    }
)
_ATTRIBUTES: Final = an_object(
    _USER | {"push_tokens": or_null(array(_PUSH_TOKEN, "Push tokens to add."))},
    additionalProperties={"description": "An attribute. Null removes it."},
)
_EVENT: Final = an_object(
    _USER | {"name": optional_text("What it was. An event without it fails."), "time": _TIME, "properties": _PROPERTIES}
)
_PURCHASE: Final = an_object(
    _USER
    | {
        "product_id": optional_text("What was bought. A purchase without it fails."),
        "currency": optional_text("A currency of ISO 4217. A purchase without it fails."),
        "price": {"type": ["number", "null"], "description": "What one of it cost. A purchase without it fails."},
        "quantity": or_null(number("How many. Absent: 1.", minimum=1, maximum=100)),
        "time": _TIME,
        "properties": _PROPERTIES,
    }
)
_ITEMS: Final = {"attributes": _ATTRIBUTES, "events": _EVENT, "purchases": _PURCHASE}

OPERATION: Final = Operation(
    ("/users/track",),
    track,
    request=a_request(
        {name: or_null(array(item, maxItems=body.MAX_ITEMS[name])) for name, item in _ITEMS.items()},
    ),
    example={
        "attributes": [{"external_id": "user_123", "first_name": "Ann"}],
        "events": [{"external_id": "user_123", "name": "opened", "time": "2026-01-02T03:04:05Z"}],
        "purchases": [{"external_id": "user_123", "product_id": "hat", "currency": "EUR", "price": 9.5}],
    },
    status=201,
    answer=an_answer(
        {
            **{f"{name}_processed": number("How many of them were done; where there were any.") for name in ARRAYS},
            "message": {"const": "success"},
            "errors": failed_items(*ARRAYS, minItems=1),
        },
        optional=(*(f"{name}_processed" for name in ARRAYS), "errors"),
    ),
)
