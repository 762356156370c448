"""JSON's values as the contract has them, and back: times and structs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from aka.server.gateway.refusal import MALFORMED, Refusal

EXACT: Final = 2**53
"""Whole numbers below it are written as such."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MILLISECONDS: Final = re.compile(r"(?<=[T ]\d\d:\d\d:\d\d):(?=\d{3})")
_HOUR: Final = re.compile(r"(?<=[+-])(?=\d:\d\d$)")


def time(value: str | float, name: str) -> Timestamp:
    """Return the time that a string (ISO 8601) or a number (seconds since the epoch) says; without a zone: UTC.

    (Braze documents `yyyy-MM-dd'T'HH:mm:ss:SSSZ` besides, with a colon before the milliseconds, and shows `+1:00`.)
    """
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(_HOUR.sub("0", _MILLISECONDS.sub(".", value)))
            since = read.replace(tzinfo=read.tzinfo or UTC) - _EPOCH
        else:
            since = datetime.fromtimestamp(value, UTC) - _EPOCH
    except (ValueError, OverflowError, OSError):
        expected = "ISO 8601 is expected" + ("" if isinstance(value, str) else ", or seconds since the epoch")
        raise Refusal(MALFORMED, f"{name} is no time: {expected}", metadata={"field": name}) from None
    seconds, rest = divmod(since, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest.microseconds * 1000)


def struct(values: Mapping[str, Any], name: str) -> Struct:
    """Return an object of JSON as a Struct."""
    written = Struct()
    try:
        written.update(values)
    except OverflowError:
        raise Refusal(MALFORMED, f"{name} has a number that is too large", metadata={"field": name}) from None
    return written


def plain(struct: Struct) -> dict[str, Any]:
    """Return a Struct as an object of JSON."""
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain(inner) for inner in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None
