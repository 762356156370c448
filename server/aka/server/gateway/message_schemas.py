"""The contract's messages as JSON Schema: what the Connect protocol's JSON takes and gives."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from aka.server.gateway.body import MAX_ITEMS
from aka.server.gateway.schema import Schema, an_object, array, at_most_one_of, one_of, or_null, ref

SENT: Final = "sent."
"""What the name of a schema begins with that is a request's, or a part of one."""

_REQUIRED: Final = "Required."
"""What the comment of a field or oneof begins with that must be given."""

_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Any": {"type": "object", "required": ["@type"], "additionalProperties": True},
}
"""Messages that have a JSON of their own."""

_SCALARS: Final[dict[int, Schema]] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
}
_NUMBER_SENT: Final[Schema] = {"type": ["integer", "string"], "format": "int32", "pattern": "^-?[0-9]+$"}


class MessageSchemas:
    """Schemas of messages, gathered with those of all that they consist of."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments
        self.gathered: dict[str, Schema] = {}

    def of_request(self, message: Any) -> Schema:
        """Return the schema of a message as callers send it: in the contract's spelling; null is as if absent."""
        name = SENT + message.full_name
        if name not in self.gathered:
            self.gathered[name] = {}  # for a message that has itself in it
            self.gathered[name] = self._request(message)
        return ref("schemas", name)

    def of_answer(self, message: Any) -> Schema:
        """Return the schema of a message as aka writes it: in camel case, with all fields that have no presence."""
        name = message.full_name
        if name not in self.gathered:
            self.gathered[name] = {}
            self.gathered[name] = an_object(
                {field.json_name: self._answered(field) for field in message.fields},
                required=tuple(field.json_name for field in message.fields if not field.has_presence),
                **self._description(name),
            )
        return ref("schemas", name)

    def _request(self, message: Any) -> Schema:
        oneofs = [oneof for oneof in message.oneofs if len(oneof.fields) > 1]  # `optional` is a oneof of one
        chosen: list[Schema] = []
        for oneof in oneofs:
            choice = one_of if self._is_required(oneof) else at_most_one_of
            chosen.append(choice(*(field.name for field in oneof.fields)))
        required = tuple(field.name for field in message.fields if self._is_required(field))
        properties = {field.name: self._sent(field, optional=field.name not in required) for field in message.fields}
        more = chosen[0] if len(chosen) == 1 else {"allOf": chosen} if chosen else {}
        return an_object(properties, required=required, **self._description(message.full_name), **more)

    def _sent(self, field: Any, *, optional: bool) -> Schema:
        if field.message_type is not None:
            schema = _KNOWN.get(field.message_type.full_name) or self.of_request(field.message_type)
        elif field.enum_type is not None:
            schema = self._enum(field.enum_type, SENT, [value.number for value in field.enum_type.values])
        else:
            schema = _NUMBER_SENT if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else _SCALARS[field.cpp_type]
        if field.is_repeated:
            schema = array(schema)
            if field.name in MAX_ITEMS:
                schema |= {"minItems": 0 if optional else 1, "maxItems": MAX_ITEMS[field.name]}
        return (or_null(schema) if optional else schema) | self._description(field.full_name)

    def _answered(self, field: Any) -> Schema:
        if field.message_type is not None:
            schema = _KNOWN.get(field.message_type.full_name) or self.of_answer(field.message_type)
        elif field.enum_type is not None:
            schema = self._enum(field.enum_type, "", [])
        else:
            schema = _SCALARS[field.cpp_type]
        return (array(schema) if field.is_repeated else schema) | self._description(field.full_name)

    def _enum(self, enum: Any, prefix: str, numbers: list[int]) -> Schema:
        name, names = prefix + enum.full_name, [value.name for value in enum.values]
        said = [self._comments.get(enum.full_name, "")]
        said += [f"- `{value}`: {self._comments.get(f'{enum.full_name}.{value}', '')}" for value in names]
        self.gathered[name] = {"enum": names + numbers, "description": "\n".join(said)}
        return ref("schemas", name)

    def _description(self, name: str) -> Schema:
        said = self._comments.get(name)
        return {"description": said} if said else {}

    def _is_required(self, element: Any) -> bool:
        return self._comments.get(element.full_name, "").startswith(_REQUIRED)
