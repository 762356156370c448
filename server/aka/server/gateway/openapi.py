"""The OpenAPI 3.1 document: every endpoint, its bodies, its errors and its headers."""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from aka.server.gateway import appizer, connect
from aka.server.gateway.message_schemas import MessageSchemas
from aka.server.gateway.operation import Dialect, Operation
from aka.server.gateway.proto_comments import comments
from aka.server.gateway.refusal import HTTP_STATUS, Refusal
from aka.server.gateway.schema import Schema, an_answer, number, ref, text
from aka.v1 import alias_service_pb2 as v1

Document = dict[str, Any]

_ABOUT: Final = """\
Which profile is this identifier? Three vendors' documented endpoints, and every RPC of aka's contract as JSON by the
Connect protocol's unary form (its requests are described in the contract's spelling, `user_id`; `userId` is taken too).
Its streams, `ImportLinks` and `ExportLinks`, are served over gRPC alone.

A request's body is looked at in this order: the JSON's shape, the key, its permission, its rate limit, the values.
Unknown paths answer 404 and other methods 405, in Appizer's shape. Identifiers are up to 400 bytes of UTF-8."""

PROTOS: Final = Path(v1.__file__).parents[2]

_CONNECT: Final = "Connect"
_LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

_OF_EVERY_CALL: Final = frozenset(reason for reason, status in HTTP_STATUS.items() if status not in (404, 409))
"""The reasons for which any call may be refused. Those of who is there and what, endpoints name for themselves."""

_MEANINGS: Final = {
    400: "The JSON, its shape or a value in it is at fault, or the profiles' state forbids it.",
    401: "The key is missing, unknown, revoked or expired.",
    403: "The key lacks a permission.",
    404: "Nobody is known by that.",
    408: "The body, or the head, did not arrive in time. The connection ends.",
    409: "What was asked is in conflict with what is there.",
    413: "The body is over 1 MiB. The connection ends.",
    415: "The body is no JSON by its content type, or is encoded.",
    429: "The key's rate limit is used up.",
    431: "The request's head is larger than 64 KiB or 100 headers. The connection ends.",
    499: "The call was cancelled.",
    500: "A bug in aka; its log says more under the request id.",
    501: "No such RPC, or a content-encoding other than identity.",
    503: "Overloaded, or the store is away. Repeat the call.",
    504: "The call's deadline passed; it was done or was not. Repeat it.",
}

_LIMITS: Final = {
    "X-RateLimit-Limit": "What the key may call in a window.",
    "X-RateLimit-Remaining": "What is left of it.",
    "X-RateLimit-Reset": "When the window ends, in seconds since the epoch.",
}
_OF_EVERY_ANSWER: Final = ("x-request-id", *_LIMITS)
"""The headers of every answer to a call."""

_HEADERS: Final[dict[str, Schema]] = {
    "x-request-id": {
        "description": "The request's id, in aka's log and journal too.",
        "required": True,
        "schema": text(pattern="^[A-Za-z0-9._-]{1,64}$"),
    },
    "Retry-After": {
        "description": "Seconds to wait before the call is repeated.",
        "required": True,
        "schema": number(minimum=1),
    },
    "WWW-Authenticate": {
        "description": "How a key is sent.",
        "required": True,
        "schema": text(const="Bearer"),
    },
    **{
        name: {"description": f"{said} Where a limit is in force.", "schema": number(minimum=0)}
        for name, said in _LIMITS.items()
    },
}

_HEADERS_OF: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
"""The headers of errors, by status, beside those of every answer."""

_PARAMETERS: Final[dict[str, Schema]] = {
    "x-request-id": {
        "description": "1 to 64 of `A-Z a-z 0-9 . _ -`; anything else is replaced by an id that aka makes.",
        "schema": text(),
    },
    "connect-protocol-version": {"description": "The version of the Connect protocol.", "schema": {"const": "1"}},
    "connect-timeout-ms": {
        "description": "Milliseconds that the call may take.",
        "schema": text(pattern="^[0-9]{1,10}$"),
    },
}

_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of aka's."},
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key. It counts before the authorization header.",
    },
}


def document(dialects: Sequence[Dialect]) -> Document:
    """Return the document of the dialects' endpoints, of every RPC, and of what else the gateway serves."""
    paths: dict[str, Any] = {}
    tags = []
    responses = {
        "NotFound": _error(404, "There is no such path.", appizer.error(["NOT_FOUND"])),
        "MethodNotAllowed": _error(405, "The path has another method.", appizer.error(["METHOD_NOT_ALLOWED"])),
    }
    for dialect in dialects:
        tags.append({"name": dialect.NAME, "description": dialect.__doc__})
        responses |= _errors(dialect.NAME, _codes(dialect), dialect.error)
        for operation in dialect.OPERATIONS:
            paths |= {path: {"post": _operation(dialect, operation, path)} for path in operation.paths}
    responses |= _errors(_CONNECT, connect.codes(), connect.error)
    said = _comments()
    messages = MessageSchemas(said)
    for service, methods in connect.SERVICES.items():
        tags.append({"name": service, "description": said[service]})
        for name, (asked, answered) in methods.items():
            request, answer = messages.of_request(asked.DESCRIPTOR), messages.of_answer(answered.DESCRIPTOR)
            paths[f"/{service}/{name}"] = {"post": _rpc(service, name, said[f"{service}.{name}"], request, answer)}
    tags.append({"name": "About", "description": "The gateway itself. No key is needed."})
    return {
        "openapi": "3.1.0",
        "info": {"title": "aka", "version": version("aka"), "description": _ABOUT, "license": _LICENSE},
        "tags": tags,
        "paths": paths | _ABOUT_ITSELF,
        "components": {
            "schemas": messages.gathered,
            "responses": responses,
            "headers": _HEADERS,
            "parameters": {name: {"name": name, "in": "header"} | said for name, said in _PARAMETERS.items()},
            "securitySchemes": _SECURITY,
        },
    }


def _operation(dialect: Dialect, operation: Operation, path: str) -> Document:
    codes = _codes(dialect, _OF_EVERY_CALL | operation.refusals)
    return {
        "tags": [dialect.NAME],
        "operationId": "_".join(path.split("/")).strip("_"),
        **_told(inspect.cleandoc(operation.handle.__doc__ or "")),
        "security": list(dialect.SECURITY),
        "parameters": [ref("parameters", "x-request-id")],
        "requestBody": {
            "required": True,
            "content": {connect.JSON: {"schema": operation.request, "example": operation.example}},
        },
        "responses": {str(operation.status): _response("Done.", {connect.JSON: {"schema": operation.answer}})}
        | {str(status): ref("responses", f"{dialect.NAME}{status}") for status in sorted(codes)},
    }


def _rpc(service: str, name: str, comment: str, request: Schema, answer: Schema) -> Document:
    body = {"schema": request, "example": connect.EXAMPLES[name]}
    return {
        "tags": [service],
        "operationId": f"{service}.{name}",
        **_told(comment),
        "security": [{"bearer": []}],
        "parameters": [ref("parameters", parameter) for parameter in _PARAMETERS],
        "requestBody": {"required": True, "content": {connect.JSON: body, connect.PROTO: {}}},
        "responses": {"200": _response("Done.", {connect.JSON: {"schema": answer}, connect.PROTO: {}}, trailers=True)}
        | {str(status): ref("responses", f"{_CONNECT}{status}") for status in sorted(connect.codes())},
    }


def _told(text: str) -> Document:
    """Return a text's first sentence as summary, and the rest as description."""
    summary, *description = re.split(r"(?<=\.)\s+", text, maxsplit=1)
    return {"summary": " ".join(summary.split()), "description": "".join(description)}


def _codes(dialect: Dialect, reasons: Iterable[str] = HTTP_STATUS) -> dict[int, list[str]]:
    """Return the codes that errors of each status have, by the reasons that there may be."""
    codes: dict[int, set[str]] = defaultdict(set)
    for reason in reasons:
        answer = dialect.refuse(Refusal(reason, ""))
        if answer.status >= 400:
            codes[answer.status] |= {answer.body[dialect.CODE]} if dialect.CODE else set()
    return {status: sorted(found) for status, found in codes.items()}


def _errors(prefix: str, codes: Mapping[int, list[str]], schema: Callable[[Sequence[str]], Schema]) -> Document:
    """Return the responses of a family of endpoints that are errors."""
    return {
        f"{prefix}{status}": _error(
            status, " ".join([_MEANINGS[status], *(f"`{code}`" for code in found)]), schema(found), prefix == _CONNECT
        )
        for status, found in codes.items()
    }


def _error(status: int, description: str, schema: Schema, trailers: bool = False) -> Document:
    return _response(description, {connect.JSON: {"schema": schema}}, *_HEADERS_OF.get(status, ()), trailers=trailers)


def _response(description: str, content: Document, *headers: str, trailers: bool = False) -> Document:
    """Return a response to a call; `trailers` are the same headers again, as the Connect protocol has them."""
    prefixes = ("", "trailer-") if trailers else ("",)
    shown = {prefix + name: ref("headers", name) for prefix in prefixes for name in _OF_EVERY_ANSWER}
    return {
        "description": description,
        "headers": shown | {name: ref("headers", name) for name in headers},
        "content": content,
    }


def _comments() -> dict[str, str]:
    """Return the comments of the contract's protos, which lie beside the stubs."""
    files = {asked.DESCRIPTOR.file.name for methods in connect.SERVICES.values() for asked, _ in methods.values()}
    found: dict[str, str] = {}
    for file in files:
        found |= comments((PROTOS / file).read_text(encoding="utf-8"))
    return found


def _page(name: str, summary: str, answers: dict[int, Schema], content_type: str = connect.JSON) -> Document:
    return {
        "get": {
            "tags": ["About"],
            "operationId": name,
            "summary": summary,
            "security": [],
            "responses": {
                str(status): {"description": HTTPStatus(status).phrase, "content": {content_type: {"schema": schema}}}
                for status, schema in answers.items()
            },
        }
    }


_ABOUT_ITSELF: Final = {
    "/healthz": _page("healthz", "Says that the process lives.", {200: an_answer({"status": {"const": "alive"}})}),
    "/readyz": _page(
        "readyz",
        "Says whether aka serves.",
        {200: an_answer({"status": {"const": "ready"}}), 503: an_answer({"status": {"const": "not ready"}})},
    ),
    "/openapi.json": _page("openapi", "This document.", {200: {"type": "object", "required": ["openapi", "paths"]}}),
    "/docs": _page("docs", "This document as a page.", {200: text()}, "text/html"),
}
