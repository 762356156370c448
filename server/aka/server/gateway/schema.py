"""JSON Schema, as the OpenAPI document has it: the few forms that aka's bodies are made of."""

from typing import Any

Schema = dict[str, Any]


def text(description: str = "", **more: Any) -> Schema:
    """Return a string's schema."""
    return _described("string", description, more)


def optional_text(description: str = "", **more: Any) -> Schema:
    """Return the schema of a string that may be null, which is as if it were absent."""
    return or_null(text(description, **more))


def number(description: str = "", **more: Any) -> Schema:
    """Return a whole number's schema."""
    return _described("integer", description, more)


def array(items: Schema, description: str = "", **more: Any) -> Schema:
    """Return an array's schema."""
    return _described("array", description, {"items": items} | more)


def an_object(properties: dict[str, Schema], *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """Return an object's schema."""
    named = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties} | named | more


def an_answer(properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that aka writes: all is there but what is `optional`."""
    return an_object(properties, required=tuple(name for name in properties if name not in optional))


def one_of(*fields: str) -> Schema:
    """Return what an object's schema has where exactly one of these fields must be given. Null is as if absent."""
    return {"oneOf": _given(fields)}


def at_most_one_of(*fields: str) -> Schema:
    """Return what an object's schema has where no two of these fields may be given."""
    return {"oneOf": [*_given(fields), {"not": {"anyOf": _given(fields)}}]}


def or_null(schema: Schema) -> Schema:
    """Return the schema of what may be null besides."""
    if "type" in schema:
        kinds = schema["type"]
        return schema | {"type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def ref(kind: str, name: str) -> Schema:
    """Return a reference to one of the document's components."""
    return {"$ref": f"#/components/{kind}/{name}"}


def _given(fields: tuple[str, ...]) -> list[Schema]:
    return [{"properties": {field: {"not": {"type": "null"}}}, "required": [field]} for field in fields]


def _described(kind: str, description: str, more: Schema) -> Schema:
    return {"type": kind} | ({"description": description} if description else {}) | more


NO_DATA: Schema = {
    "type": ["object", "null"],
    "maxProperties": 0,
    "description": "Refused unless it is empty: this endpoint does not store it.",
}
"""What the documents have elsewhere, for data."""
