"""Every RPC as JSON: the Connect protocol's unary form, as its public specification (connectrpc.com) has it."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status

from aka.admin.v1 import admin_service_pb2 as admin_v1
from aka.server.gateway.answer import Answer
from aka.server.gateway.body import MAX_ITEMS, as_object, decode, wrong_type
from aka.server.gateway.refusal import GATEWAYS_OWN, HEAD_TOO_LARGE, MALFORMED, TOO_LARGE, TOO_SLOW, Refusal
from aka.server.gateway.schema import Schema, an_answer, array, text
from aka.v1 import alias_service_pb2 as v1

JSON: Final = "application/json"
PROTO: Final = "application/proto"

_SERVICES: Final = (
    v1.DESCRIPTOR.services_by_name["AliasService"],
    admin_v1.DESCRIPTOR.services_by_name["AdminService"],
)

SERVICES: Final = {
    service.full_name: {
        method.name: (GetMessageClass(method.input_type), GetMessageClass(method.output_type))
        for method in service.methods
        if not (method.client_streaming or method.server_streaming)
    }
    for service in _SERVICES
}
"""The request's and the response's class of each RPC of each service that is no stream."""

EXAMPLES: Final = {
    "Alias": {"user_id": "user_123", "alias_id": "legacy_999"},
    "BatchAlias": {"requests": [{"user_id": "user_123", "alias_id": "stripe:cus_abc123"}]},
    "CreateAliases": {"user_aliases": [{"alias_name": "device-7", "alias_label": "kiosk"}]},
    "Identify": {"aliases_to_identify": [{"external_id": "user_123", "anonymous_id": "session-1"}]},
    "Resolve": {"identifiers": [{"id": "legacy_999"}, {"id": "nobody"}]},
    "GetProfile": {"identifier": {"id": "user_123"}},
    "Track": {"events": [{"external_id": "user_123", "name": "signed_up", "properties": {"plan": "free"}}]},
    "ExportProfiles": {"profiles": [{"id": "user_123"}], "fields": "attributes,events"},
    "DeleteAlias": {"id": "legacy_999", "allow_missing": True},
    "CreateKey": {"name": "billing", "permissions": ["profiles.read", "aliases.write"]},
    "ListKeys": {"page_size": 10},
    "RevokeKey": {"key_id": "01a20548-0ea1-7342-ac66-b0e00d6272a9"},
    "CreateWorkspace": {"name": "staging"},
    "ListWorkspaces": {},
}
"""A request of each RPC."""

_HTTP: Final = {
    code_pb2.CANCELLED: 499,
    code_pb2.UNKNOWN: 500,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.DEADLINE_EXCEEDED: 504,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.ABORTED: 409,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.INTERNAL: 500,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DATA_LOSS: 500,
    code_pb2.UNAUTHENTICATED: 401,
}


_CODES: Final = {
    "INTERNAL": code_pb2.INTERNAL,
    TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    HEAD_TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    TOO_SLOW: code_pb2.DEADLINE_EXCEEDED,
}
"""The code of what is refused without a call, where it is not INVALID_ARGUMENT."""

_AS_STRING: Final = ("google.protobuf.Timestamp", "google.protobuf.FieldMask")
"""Written as a string: RFC 3339; names with commas between them."""
_STRUCT: Final = "google.protobuf.Struct"
"""Written as any object."""

_REASONS: Final = {400: "INVALID_VALUE", 500: "INTERNAL"}
"""ErrorInfo's reason of what is refused without a call. What HTTP adds, such as a body too large, has none."""


def timeout(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the request allows, None where it sets no limit.

    Refuses another version of the protocol, and an encoding.
    """
    if headers.get("connect-protocol-version", "1") != "1":
        raise Refusal(MALFORMED, "connect-protocol-version must be 1")
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise _unimplemented(f"The content-encoding {encoding} is not supported; identity is")
    given = headers.get("connect-timeout-ms")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 10):
        raise Refusal(MALFORMED, "connect-timeout-ms must be a number of at most 10 digits")
    return int(given) / 1000


def parse(body: bytes, content_type: str, request: type[Message]) -> Message:
    """Return the message of a body. Unknown fields are ignored, as the protocol asks."""
    try:
        if content_type == PROTO:
            return request.FromString(body)
        sent = decode(body)
        beyond = _cut(sent, request.DESCRIPTOR)
        _check_types(sent, request.DESCRIPTOR, "")
        message = json_format.ParseDict(sent, request(), ignore_unknown_fields=True)
        for field, count in beyond.items():
            items = getattr(message, field)
            items.extend([type(items[0])()] * count)
        return message
    except (json_format.ParseError, DecodeError) as error:
        raise Refusal(MALFORMED, f"The body is no {request.DESCRIPTOR.full_name}: {error}") from None


def write(message: Message, content_type: str) -> bytes:
    """Return a response's body. Fields without presence are printed."""
    if content_type == PROTO:
        return message.SerializeToString()
    return msgspec.json.encode(json_format.MessageToDict(message, always_print_fields_with_no_presence=True))


def refuse(refusal: Refusal, request_id: str) -> Answer:
    """Say in the protocol's error JSON why a request was refused."""
    status = refusal.status or _status_without_call(refusal)
    if not any(detail.Is(RequestInfo.DESCRIPTOR) for detail in status.details):
        status.details.add().Pack(RequestInfo(request_id=request_id))
    details = [
        {
            "type": detail.type_url.rpartition("/")[2],
            "value": base64.b64encode(detail.value).decode().rstrip("="),
            "debug": json_format.MessageToDict(detail),
        }
        for detail in status.details
    ]
    answer = {"code": _name(status.code), "message": status.message, "details": details}
    return Answer(_HTTP.get(status.code, 500) if refusal.status else refusal.http_status, answer)


def codes() -> dict[int, list[str]]:
    """Return the codes that errors of each HTTP status have."""
    found: dict[int, set[str]] = defaultdict(set)
    for code, status in _HTTP.items():
        found[status].add(_name(code))
    for reason in GATEWAYS_OWN:
        answer = refuse(Refusal(reason, ""), "")
        found[answer.status].add(answer.body["code"])
    return {status: sorted(names) for status, names in found.items()}


def error(codes: Sequence[str]) -> Schema:
    """Return the schema of the protocol's error JSON that has one of these codes."""
    detail = {
        "type": text("The detail's message type, such as `google.rpc.ErrorInfo`."),
        "value": text("The message in base64 without padding.", contentEncoding="base64"),
        "debug": {"type": "object", "additionalProperties": True, "description": "The message as JSON."},
    }
    return an_answer(
        {
            "code": text("What was wrong, for programs.", enum=list(codes)),
            "message": text("What was wrong, for people."),
            "details": array(an_answer(detail), "ErrorInfo, BadRequest, RetryInfo, RequestInfo.", minItems=1),
        }
    )


def unknown_method(service: str, name: str) -> Refusal:
    """Say that there is no such RPC, or that it is a stream."""
    if any(service == known.full_name and name in known.methods_by_name for known in _SERVICES):
        return _unimplemented(f"{name} is a stream, which only gRPC serves")
    return _unimplemented(f"{service} has no method {name}")


def _unimplemented(message: str) -> Refusal:
    return Refusal("INTERNAL", message, status=Status(code=code_pb2.UNIMPLEMENTED, message=message))


def _cut(sent: Any, message: Any) -> dict[str, int]:
    """Leave of each batch in `sent` the items that it may have, and return how many there were beyond, by field.

    (A batch that is too large is refused whatever is in it; see `body.batch`. A mebibyte of empty items takes a second
    to read.)
    """
    beyond = {}
    for key, value in as_object(sent).items():
        field = _field(message, key)
        most = MAX_ITEMS.get(field.name) if field is not None else None
        if most is not None and isinstance(value, list) and len(value) > most:
            beyond[field.name] = len(value) - most
            sent[key] = value[:most]
    return beyond


def _check_types(sent: Any, message: Any, name: str) -> None:
    """Refuse what is no object, array, string or enum's value where the descriptor `message` has one.

    `name` is the path so far. (json_format reads arrays and strings as objects, tells of Python's types where it
    refuses, and ignores an unknown name of an enum along with unknown fields, so that a misspelt merge policy would be
    the default.)
    """
    within = f"{name}." if name else ""
    for key, value in as_object(sent, name).items():
        field = _field(message, key)
        if field is None or value is None:
            continue
        values = value if field.is_repeated else [value]
        if not isinstance(values, list):
            raise wrong_type(within + key, "an array", value)
        for index, inner in enumerate(values):
            path = f"{within}{key}[{index}]" if field.is_repeated else within + key
            if field.message_type is not None and field.message_type.full_name == _STRUCT:
                as_object(inner, path)
            elif field.message_type is not None and field.message_type.full_name not in _AS_STRING:
                _check_types(inner, field.message_type, path)
            elif (field.message_type or field.type == FieldDescriptor.TYPE_STRING) and not isinstance(inner, str):
                raise wrong_type(path, "a string", inner)
            elif field.enum_type is not None:
                if isinstance(inner, str) and inner not in field.enum_type.values_by_name:
                    told = f"{path} is {inner!r}, which is none of its values"
                    raise Refusal(MALFORMED, told, metadata={"field": path})
                if isinstance(inner, bool) or (isinstance(inner, float) and not inner.is_integer()):
                    raise wrong_type(path, "a name or a whole number", inner)


def _field(message: Any, key: str) -> Any:
    """Return the descriptor of the field that JSON calls `key`; None where there is none."""
    return message.fields_by_camelcase_name.get(key) or message.fields_by_name.get(key)


def _status_without_call(refusal: Refusal) -> Status:
    status = Status(code=_CODES.get(refusal.reason, code_pb2.INVALID_ARGUMENT), message=refusal.message)
    reason = _REASONS.get(refusal.http_status)
    if reason is not None:
        status.details.add().Pack(ErrorInfo(reason=reason, domain="aka", metadata=refusal.metadata))
    if "field" in refusal.metadata:
        violation = {"field": refusal.metadata["field"], "description": refusal.message, "reason": reason}
        status.details.add().Pack(BadRequest(field_violations=[BadRequest.FieldViolation(**violation)]))
    return status


def _name(code: int) -> str:
    name = code_pb2.Code.Name(code).lower()
    return "canceled" if name == "cancelled" else name
