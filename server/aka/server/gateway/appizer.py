"""Appizer's dialect: `POST /users/aliases` and `POST /users`, with or without `/v1`."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from aka.server.gateway import body, values
from aka.server.gateway.answer import Answer
from aka.server.gateway.calls import Caller, Stub
from aka.server.gateway.operation import Operation, Security
from aka.server.gateway.refusal import (
    HEAD_TOO_LARGE,
    MALFORMED,
    MEDIA_TYPE,
    TOO_LARGE,
    TOO_SLOW,
    UNKNOWN_ENVIRONMENT,
    WRONG_TYPE,
    Refusal,
    refusal_of,
)
from aka.server.gateway.schema import NO_DATA, Schema, an_answer, an_object, one_of, optional_text, text
from aka.v1 import alias_service_pb2 as v1

NAME: Final = "Appizer"
SECURITY: Final[Security] = ({"bearer": []},)
CODE: Final = "code"

CODES: Final = {
    MALFORMED: "INVALID_REQUEST",
    WRONG_TYPE: "INVALID_TYPE",
    UNKNOWN_ENVIRONMENT: "INVALID_REQUEST",
    TOO_SLOW: "REQUEST_TIMEOUT",
    TOO_LARGE: "PAYLOAD_TOO_LARGE",
    MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
    HEAD_TOO_LARGE: "HEADERS_TOO_LARGE",
    "FIELD_REQUIRED": "MISSING_FIELD",
    "KEY_MISSING": "MISSING_AUTH",
    "KEY_INVALID": "INVALID_API_KEY",
    "KEY_REVOKED": "REVOKED_API_KEY",
    "TOO_MUCH_DATA": "TOO_MUCH_DATA",
}
"""Codes of single reasons, before those of their status."""

CODES_BY_STATUS: Final = {
    400: "INVALID_REQUEST",
    403: "INSUFFICIENT_PERMISSIONS",
    404: "USER_NOT_FOUND",
    409: "ALIAS_CONFLICT",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}


PHRASES: Final = {413: "Content Too Large"}
"""Phrases that are not Python's, whose own changed with 3.13."""


def authorization(headers: Mapping[str, str], sent: Any) -> str | None:
    """Return the key of a request: the authorization header."""
    return headers.get("authorization")


async def aliases(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Link `alias_id` to the user that `user_id`, or `primary_user_id`, names."""
    fields = body.as_object(sent)
    user_id, primary_user_id = body.text(fields, "user_id"), body.text(fields, "primary_user_id")
    request = v1.AliasRequest(alias_id=body.text(fields, "alias_id") or "", merge_policy=v1.MERGE_POLICY_ANONYMOUS)
    if user_id is not None and primary_user_id is not None:
        raise Refusal(MALFORMED, "Give user_id or primary_user_id, not both")
    if primary_user_id is not None:
        request.primary_user_id = primary_user_id
    else:
        request.user_id = user_id or ""
    refusal = body.data_in(fields, "traits", "properties")
    linked = await caller.call(stub.Alias, request, v1.AliasResponse, refusal)
    named = linked.user_id or linked.profile_id if user_id is None else user_id
    return Answer(200, {"success": True, "alias_id": linked.alias_id, "user_id": named, "message": "Alias created"})


async def users(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Make a user known by `user_id`, and store the properties: both are done, or neither.

    They are what is in `properties`, and every other field by its own name. Null removes one.
    """
    fields = body.as_object(sent)
    user_id = body.text(fields, "user_id") or ""
    inner = {} if fields.get("properties") == [] else body.members(fields, "properties")
    properties = {name: value for name, value in fields.items() if name not in ("user_id", "properties")} | inner
    item, refusal = v1.AliasToIdentify(external_id=user_id), None
    if properties:
        try:
            item.attributes.CopyFrom(await caller.read(values.struct, properties, "properties"))
        except Refusal as fault:
            refusal = fault
    request = v1.IdentifyRequest(aliases_to_identify=[item])
    identified = await caller.call(stub.Identify, request, v1.IdentifyResponse, refusal)
    (result,) = identified.results
    if result.HasField("error"):
        raise refusal_of(result.error).renamed(lambda path: _as_sent(path, inner))
    return Answer(
        200,
        {
            "success": True,
            "user_id": result.profile_id,
            "external_id": user_id,
            "message": "User created" if result.outcome == v1.OUTCOME_CREATED else "User updated",
        },
    )


def refuse(refusal: Refusal) -> Answer:
    """Say in Appizer's shape why a request was refused."""
    status = refusal.http_status
    code = CODES.get(refusal.reason) or CODES_BY_STATUS[status]
    return error_answer(status, code, refusal.message, refusal.metadata)


def error_answer(status: int, code: str, message: str, details: dict[str, str] | None = None) -> Answer:
    """Write an error of Appizer's shape."""
    phrase = PHRASES.get(status) or HTTPStatus(status).phrase
    return Answer(status, {"error": phrase, "message": message, "code": code, "details": details or {}})


def _as_sent(path: str, properties: Mapping[str, Any]) -> str:
    """Return the path in a request with these `properties` of a field that the call has at `path`."""
    name, dot, rest = path.removeprefix("aliases_to_identify[0].").partition(".")
    if name == "attributes":
        return f"properties{dot}{rest}" if rest in properties or not rest else rest
    return {"external_id": "user_id"}.get(name, name) + dot + rest


def error(codes: Sequence[str]) -> Schema:
    """Return the schema of an error that has one of these codes."""
    return an_answer(
        {
            "error": text("The HTTP status in words."),
            "message": text("What was wrong, for people."),
            "code": text("What was wrong, for programs.", enum=list(codes)),
            "details": {
                "type": "object",
                "additionalProperties": text(),
                "description": "The values of the message, such as `field`, or `limit`, `window` and `retry_after`.",
            },
        }
    )


OPERATIONS: Final = (
    Operation(
        ("/v1/users/aliases", "/users/aliases"),
        aliases,
        request=an_object(
            {
                "user_id": optional_text("Any id of the user.", minLength=1, maxLength=400),
                "primary_user_id": optional_text("The user's profile id, in place of `user_id`.", format="uuid"),
                "alias_id": text("The id to link.", minLength=1, maxLength=400),
                "traits": NO_DATA,
                "properties": NO_DATA,
            },
            required=("alias_id",),
            **one_of("user_id", "primary_user_id"),
        ),
        example={"user_id": "user_123", "alias_id": "legacy_999"},
        status=200,
        answer=an_answer(
            {
                "success": {"const": True},
                "alias_id": text("The alias as given."),
                "user_id": text("The user as given; where `primary_user_id` was given, its primary or profile id."),
                "message": {"const": "Alias created"},
            }
        ),
        refusals=frozenset({"USER_NOT_FOUND", "PROFILE_NOT_FOUND", "IDENTIFIED_PROFILE", "TOO_MANY_IDENTIFIERS"}),
    ),
    Operation(
        ("/v1/users", "/users"),
        users,
        request=an_object(
            {
                "user_id": text("The id to know the user by.", minLength=1, maxLength=400),
                "properties": {
                    "type": ["object", "array", "null"],
                    "maxItems": 0,
                    "additionalProperties": {"description": "A property. Null removes it."},
                    "description": "What to store.",
                },
            },
            required=("user_id",),
            additionalProperties={"description": "A property, as in `properties`, which counts where both have it."},
        ),
        example={"user_id": "user_123", "properties": {"plan": "pro"}},
        status=200,
        answer=an_answer(
            {
                "success": {"const": True},
                "user_id": text("The profile id.", format="uuid"),
                "external_id": text("The `user_id` as given."),
                "message": text(enum=["User created", "User updated"]),
            }
        ),
        refusals=frozenset({"TOO_MUCH_DATA"}),
    ),
)
