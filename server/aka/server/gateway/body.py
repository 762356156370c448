"""A request's body: read within bounds, as JSON, and the fields in it."""

import asyncio
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from aka.server.gateway.refusal import MALFORMED, MEDIA_TYPE, MISSING, TOO_LARGE, TOO_SLOW, WRONG_TYPE, Refusal
from aka.server.gateway.request import Request

T = TypeVar("T")

MAX_BYTES: Final = 1024 * 1024
MAX_SECONDS: Final = 10.0
MAX_NESTING: Final = 32

MAX_ITEMS: Final = {
    "requests": 100,
    "user_aliases": 50,
    "aliases_to_identify": 50,
    "identifiers": 1000,
    "attributes": 75,
    "events": 75,
    "purchases": 75,
    "messages": 75,
    "profiles": 50,
}
"""How many items a batch may have, by the field of the call that has them."""

_NAMES: Final = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "an array",
    str: "a string",
    type(None): "null",
}


async def read(request: Request, *content_types: str) -> tuple[bytes, str]:
    """Return the body and its content type, the first of `content_types` where the request names none.

    Refuses another content type or an encoding, more than 1 MiB, and a body that takes more than 10 s.
    """
    headers = request.headers
    given = headers.get("content-type", "").partition(";")[0].strip().lower() or content_types[0]
    if given not in content_types:
        raise Refusal(MEDIA_TYPE, f"The content type is {given}; {' or '.join(content_types)} is expected")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(MEDIA_TYPE, "The body must not be encoded (content-encoding)")
    if request.is_whole:  # then there is nothing to wait for
        return await _receive(request), given
    try:
        async with asyncio.timeout(MAX_SECONDS):
            return await _receive(request), given
    except TimeoutError:
        raise Refusal(TOO_SLOW, f"The body did not arrive within {MAX_SECONDS:.0f} s") from None


async def _receive(request: Request) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refusal(MALFORMED, "The body ended before its end")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BYTES:
            raise Refusal(TOO_LARGE, f"The body is larger than {MAX_BYTES} bytes")
    return bytes(body)


def decode(body: bytes) -> Any:
    """Return the JSON value of a body. Of a duplicate key the last counts; nesting over 32 is refused."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(MALFORMED, f"The body is no JSON: {error}") from None
    except RecursionError:
        raise Refusal(MALFORMED, _TOO_NESTED) from None
    # The brackets say it sooner than a walk through the value, and where there are few of them their number does.
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and _depth(body) > MAX_NESTING:
        raise Refusal(MALFORMED, _TOO_NESTED)
    return value


_TOO_NESTED: Final = f"The body is nested more than {MAX_NESTING} levels deep"
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS: Final = bytes(set(range(256)).difference(_BRACKETS))


def _depth(body: bytes) -> int:
    """Return how many levels deep good JSON is nested."""
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_BRACKETS.__getitem__, brackets)))


def batch(items: list[Any], field: str, read: Callable[[int, Any], T], empty: T) -> list[T]:
    """Return a batch as `read` makes it of index and item. Items beyond `MAX_ITEMS[field]` are counted, not read.

    A batch that is too large is refused whatever is in it. That is for the call to say, after the caller's key was
    seen, so nobody without one has it read.
    """
    most = MAX_ITEMS[field]
    return [read(index, item) for index, item in enumerate(items[:most])] + [empty] * (len(items) - most)


def as_object(value: Any, name: str = "") -> dict[str, Any]:
    """Return a JSON value that must be an object: the field `name`, or the body."""
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    return value


def text(body: dict[str, Any], field: str, within: str = "") -> str | None:
    """Return a field that is a string; None where it is absent or null."""
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise wrong_type(within + field, "a string", value)
    return value


def required_text(body: dict[str, Any], field: str, within: str = "") -> str:
    """Return a field that is a string and must be there."""
    value = text(body, field, within)
    if not value:
        raise missing(within + field)
    return value


def number(body: dict[str, Any], field: str, within: str = "") -> float | None:
    """Return a field that is a number; None where it is absent or null."""
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(within + field, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise Refusal(MALFORMED, f"{within}{field} is too large", metadata={"field": within + field}) from None


def flag(body: dict[str, Any], field: str, within: str = "") -> bool | None:
    """Return a field that is a boolean; None where it is absent or null."""
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(within + field, "a boolean", value)
    return value


def array(body: dict[str, Any], field: str, within: str = "") -> list[Any]:
    """Return a field that is an array and must be there."""
    value = body.get(field)
    if value is None:
        raise missing(within + field)
    if not isinstance(value, list):
        raise wrong_type(within + field, "an array", value)
    return value


def members(body: dict[str, Any], field: str, within: str = "") -> dict[str, Any]:
    """Return what is in a field that is an object; nothing where it is absent or null."""
    value = body.get(field)
    return {} if value is None else as_object(value, within + field)


def data_in(body: dict[str, Any], *fields: str, within: str = "") -> Refusal | None:
    """Return why data is refused that the endpoint does not store: in these fields, where they are not empty."""
    for field in fields:
        if members(body, field, within):
            return Refusal(MALFORMED, f"{within}{field} cannot be stored by this endpoint; send data to Track")
    return None


def missing(field: str) -> Refusal:
    """Say that a field is absent, null or empty."""
    return Refusal(MISSING, f"Missing required field: {field}", metadata={"field": field})


def wrong_type(field: str, expected: str, value: Any) -> Refusal:
    """Say that a field has another JSON type than it must have."""
    message = f"{field or 'The body'} must be {expected}, not {_NAMES[type(value)]}"
    return Refusal(WRONG_TYPE, message, metadata={"field": field} if field else None)
