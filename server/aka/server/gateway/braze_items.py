"""What the arrays of Braze's requests have in common: user aliases in them, and how items that failed are told."""

from typing import Any, Final

from aka.server.gateway import body
from aka.server.gateway.schema import Schema, an_answer, an_object, array, number, optional_text, text
from aka.v1 import alias_service_pb2 as v1

PAIR: Final[dict[str, Schema]] = {
    "alias_name": optional_text("The user alias's name. An item without it fails."),
    "alias_label": optional_text("The user alias's label. An item without it fails."),
}
USER_ALIAS: Final = an_object(PAIR) | {"type": ["object", "null"]}


def user_alias(given: Any, name: str) -> v1.UserAlias:
    """Read the user alias `name`: an object. What it lacks is empty, so that the call refuses the item."""
    pair = body.as_object(given, name)
    return v1.UserAlias(
        alias_name=body.text(pair, "alias_name", f"{name}.") or "",
        alias_label=body.text(pair, "alias_label", f"{name}.") or "",
    )


def failed(why: str, field: str, index: int) -> dict[str, Any]:
    """Say that an item of the array `field` failed."""
    return {"type": why, "input_array": field, "index": index}


def failed_items(*fields: str, **more: Any) -> Schema:
    """Return the schema of the items that failed, of these arrays."""
    item = {"type": text("What was wrong."), "input_array": {"enum": [*fields]}, "index": number("The item, from 0.")}
    return array(an_answer(item), "The items that failed.", **more)


def a_request(fields: dict[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of a request."""
    key = {"api_key": optional_text("The key, where the authorization header has none.")}
    return an_object(fields | key, required=required)
