"""JSON that callers send as google.protobuf.Struct: checked, written as it is stored, and back."""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from google.protobuf.struct_pb2 import Struct, Value

from aka.server.domain.identifiers import checked_text
from aka.server.errors import AkaError, invalid_value

MAX_BYTES: Final = 8192
"""Of an attribute's JSON, or of properties."""
MAX_NESTING: Final = 16
MAX_NAME_BYTES: Final = 255
EXACT: Final = 2**53
"""Whole numbers below it are written as such."""


def checked_values(struct: Struct, field: str) -> dict[str, str]:
    """Return the JSON of each value by its name; INVALID_VALUE at `field` or below it."""
    return {
        _checked_name(name, field): _written(_checked(value, f"{field}.{name}", 1), f"{field}.{name}")
        for name, value in struct.fields.items()
    }


def checked_object(struct: Struct, field: str) -> str:
    """Return a whole object as JSON; INVALID_VALUE at `field` or below it."""
    return _written(_checked_struct(struct, field, 1), field)


def read_json(value: str) -> Any:
    """Return the value of JSON that was stored."""
    return msgspec.json.decode(value)


def write_json(value: Any) -> str:
    """Return the JSON of a value that needs no check."""
    return msgspec.json.encode(value).decode()


def write_struct(values: Mapping[str, Any], struct: Struct) -> None:
    """Write the values of a JSON object into a field of that type.

    (Its own `update` does that too, and takes twice as long for strings and numbers, which most of them are.)
    """
    fields = struct.fields
    for name, value in values.items():
        if isinstance(value, str):
            fields[name].string_value = value
        elif isinstance(value, float):
            fields[name].number_value = value
        else:
            struct.update({name: value})


def _written(value: Any, field: str) -> str:
    text = msgspec.json.encode(value)
    if len(text) > MAX_BYTES:
        size, most = str(len(text)), str(MAX_BYTES)
        raise invalid_value(field, f"is {size} bytes of JSON; {most} are allowed", bytes=size, maximum=most)
    return text.decode()


def _checked(value: Value, field: str, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise invalid_value(field, "is or has a number that is not finite, which JSON cannot write")
            return int(number) if number.is_integer() and abs(number) < EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _checked_struct(value.struct_value, field, depth + 1)
        case "list_value":
            _refuse_nesting(field, depth + 1)
            return [_checked(inner, field, depth + 1) for inner in value.list_value.values]
        case _:
            return None


def _checked_struct(struct: Struct, field: str, depth: int) -> dict[str, Any]:
    _refuse_nesting(field, depth)
    return {_checked_name(name, field): _checked(value, field, depth) for name, value in struct.fields.items()}


def _checked_name(name: str, field: str) -> str:
    try:
        return checked_text(name, field, MAX_NAME_BYTES)
    except AkaError as error:
        why = "is empty" if not name else error.text
        raise invalid_value(field, f"has a name that {why}") from None


def _refuse_nesting(field: str, depth: int) -> None:
    if depth > MAX_NESTING:
        raise invalid_value(field, f"is nested more than {MAX_NESTING} levels deep", maximum=str(MAX_NESTING))
