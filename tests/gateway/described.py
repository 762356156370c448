"""Answers held against the OpenAPI document: their status, headers and body, and what was sent for a success."""

import json
import re
from typing import Any, Final

import httpx
import jsonschema_rs

from aka.server.gateway import openapi
from aka.server.gateway.app import DIALECTS

DOCUMENT: Final = json.loads(json.dumps(openapi.document(DIALECTS)))

VALIDATORS: Final[dict[tuple[int, bool], Any]] = {}

OWN_HEADERS: Final = ("x-", "trailer-", "retry-after", "www-authenticate")
"""What the names of aka's own headers begin with."""


async def check_described(answer: httpx.Response) -> None:
    """Fail where an answer is not as the document says: an event hook of httpx's client."""
    await answer.aread()
    request = answer.request
    if request.method == "OPTIONS" and answer.status_code != 405:  # a browser's question, which CORS answers
        return
    operation = DOCUMENT["paths"].get(request.url.path, {}).get(request.method.lower())
    response = described(request, answer, operation)
    headers = {name.lower(): resolved(header) for name, header in response.get("headers", {}).items()}
    check_headers(answer, headers)
    if request.method == "HEAD":
        return
    schema = response["content"][answer.headers["content-type"].partition(";")[0]].get("schema")
    if schema is not None:
        shown = answer.json() if "json" in answer.headers["content-type"] else answer.text
        validator(schema, closed=True).validate(shown)
    all_done = answer.is_success and not any(told in answer.content for told in (b'"error":', b'"errors":'))
    if all_done and operation is not None and "requestBody" in operation:
        check_sent(request, operation)


def described(request: httpx.Request, answer: httpx.Response, operation: Any) -> Any:
    """Return what the document has of an answer."""
    if operation is None:
        name = {404: "NotFound", 405: "MethodNotAllowed", 501: "Connect501"}[answer.status_code]
        return DOCUMENT["components"]["responses"][name]
    told = f"{request.method} {request.url.path} has no {answer.status_code} in the document"
    assert str(answer.status_code) in operation["responses"], told
    return resolved(operation["responses"][str(answer.status_code)])


def check_headers(answer: httpx.Response, headers: dict[str, Any]) -> None:
    """Hold the headers that are aka's own against those of the document."""
    own = {name: value for name, value in answer.headers.items() if name.startswith(OWN_HEADERS)}
    assert own.keys() <= headers.keys()
    assert own.keys() >= {name for name, header in headers.items() if header.get("required")}
    for name, value in own.items():
        schema = headers[name]["schema"]
        validator(schema).validate(int(value) if schema["type"] == "integer" else value)


def check_sent(request: httpx.Request, operation: Any) -> None:
    """Hold what was sent, and was good, against the document."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].lower()
    schema = operation["requestBody"]["content"][content_type].get("schema")
    if schema is not None:
        sent = json.loads(request.content)
        validator(schema).validate(snake_case(sent) if "." in request.url.path else sent)


def snake_case(sent: Any) -> Any:
    """Return what was sent to an RPC in the contract's own spelling."""
    if isinstance(sent, dict):
        return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): snake_case(sent[name]) for name in sent}
    return [snake_case(item) for item in sent] if isinstance(sent, list) else sent


def validator(schema: Any, *, closed: bool = False) -> Any:
    """Return a validator of a schema of the document; `closed`: of answers, which have no other fields."""
    key = (id(schema), closed)  # the document's parts stay where they are
    if key not in VALIDATORS:
        root = {"components": {"schemas": DOCUMENT["components"]["schemas"]}} | schema
        VALIDATORS[key] = jsonschema_rs.Draft202012Validator(close(root) if closed else root, validate_formats=True)
    return VALIDATORS[key]


def close(schema: Any) -> Any:
    """Return a schema whose objects have no fields but those that it names."""
    if isinstance(schema, list):
        return [close(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close(inner) for name, inner in schema.items()}
    return {"additionalProperties": False} | closed if isinstance(schema.get("properties"), dict) else closed


def resolved(component: Any) -> Any:
    """Return what a reference to a component refers to."""
    if "$ref" not in component:
        return component
    _, _, kind, name = component["$ref"].split("/")
    return DOCUMENT["components"][kind][name]
