"""Altertable's dialect: `POST /alias` and `POST /identify`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aka.server.gateway import body
from aka.server.gateway.answer import Answer
from aka.server.gateway.calls import Caller, Stub, bearer
from aka.server.gateway.operation import Operation, Security
from aka.server.gateway.refusal import GATEWAYS_OWN, MALFORMED, UNKNOWN_ENVIRONMENT, Refusal, refusal_of
from aka.server.gateway.schema import NO_PROFILE_DATA, Schema, an_answer, an_object, array, number, optional_text, text
from aka.v1 import alias_service_pb2 as v1

NAME: Final = "Altertable"
SECURITY: Final[Security] = ({"x-api-key": []}, {"bearer": []})
CODE: Final = "error_code"

ENVIRONMENTS: Final = frozenset({"production"})
OK: Final = Answer(200, {"ok": True, "error_code": None})

FAILED: Final = "alias-failed"
CODES: Final = {
    400: "invalid-request",
    401: "invalid-api-key",
    403: "permission-denied",
    404: FAILED,
    408: "invalid-request",
    409: FAILED,
    413: "invalid-request",
    415: "invalid-request",
    431: "invalid-request",
    429: "rate-limited",
    500: "internal-error",
    503: "internal-error",
}
_STATUSES: Final = {404: 400, 409: 400}
_NAMES: Final = {"user_id": "distinct_id", "external_id": "distinct_id", "requests": "The array"}
"""What the calls' fields are called here, where it is not the same."""


def authorization(headers: Mapping[str, str], sent: Any) -> str | None:
    """Return the key of a request: `X-API-Key`, else the authorization header."""
    return bearer(headers.get("x-api-key")) or headers.get("authorization")


async def alias(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Join `distinct_id` and `alias_id` (or `new_user_id`): one pair, or an array of up to 100."""
    if not isinstance(sent, list):
        request = _alias_request(body.as_object(sent), "")
        await caller.call(stub.Alias, request, v1.AliasResponse, body.profile_data_in(sent))
        return OK

    def read(index: int, item: Any) -> v1.AliasRequest:
        return _alias_request(body.as_object(item, f"[{index}]"), f"[{index}].")

    requests = v1.BatchAliasRequest(requests=body.batch(sent, "requests", read, v1.AliasRequest()))
    read_items = enumerate(sent[: body.MAX_ITEMS["requests"]])
    refusals = filter(None, (body.profile_data_in(item, f"[{index}].") for index, item in read_items))
    batch = await caller.call(stub.BatchAlias, requests, v1.BatchAliasResponse, next(refusals, None))
    refused = [
        (result.index, refusal)
        for result in batch.results
        if result.HasField("error") and (refusal := refusal_of(result.error)).reason != "SELF_ALIAS"
    ]
    if not refused:
        return OK
    index, first = refused[0]
    answer = refuse(first)
    return Answer(400, answer.body | {"index": index, "succeeded": len(batch.results) - len(refused)})


async def identify(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Make `distinct_id` known, with its `anonymous_id` where that is free to follow.

    The second item makes a login succeed though the anonymous id is someone else's (a shared device) or rubbish.
    """
    fields = body.as_object(sent)
    _check_environment(fields, "")
    distinct_id = body.required_text(fields, "distinct_id")
    anonymous_id = body.text(fields, "anonymous_id")
    items = [v1.AliasToIdentify(external_id=distinct_id)]
    if anonymous_id:
        items.insert(0, v1.AliasToIdentify(external_id=distinct_id, anonymous_id=anonymous_id))
    request = v1.IdentifyRequest(aliases_to_identify=items)
    answered = await caller.call(stub.Identify, request, v1.IdentifyResponse, body.profile_data_in(fields))
    last = answered.results[-1]
    if last.HasField("error"):
        raise refusal_of(last.error)
    first = answered.results[0]
    if first.HasField("error"):
        why = _message(refusal_of(first.error))
        return Answer(200, OK.body | {"message": f"The anonymous_id was not linked: {why}"})
    return OK


def refuse(refusal: Refusal) -> Answer:
    """Say in Altertable's shape why a request was refused. Linking an id to itself is no refusal there."""
    if refusal.reason == "SELF_ALIAS":
        return OK
    status = refusal.http_status
    code = "environment-not-found" if refusal.reason == UNKNOWN_ENVIRONMENT else CODES[status]
    return Answer(_STATUSES.get(status, status), {"ok": False, "error_code": code, "message": _message(refusal)})


def _alias_request(fields: dict[str, Any], within: str) -> v1.AliasRequest:
    _check_environment(fields, within)
    distinct_id = body.required_text(fields, "distinct_id", within)
    alias_id, new_user_id = body.text(fields, "alias_id", within), body.text(fields, "new_user_id", within)
    if alias_id and new_user_id and alias_id != new_user_id:
        raise Refusal(MALFORMED, f"{within}alias_id and {within}new_user_id are two names of one field; give one")
    linked = alias_id or new_user_id
    if not linked:
        raise body.missing(within + "alias_id")
    return v1.AliasRequest(
        user_id=distinct_id, alias_id=linked, merge_policy=v1.MERGE_POLICY_ALWAYS, create_missing=True
    )


def _check_environment(fields: dict[str, Any], within: str) -> None:
    environment = body.text(fields, "environment", within)
    if environment is not None and environment not in ENVIRONMENTS:
        raise Refusal(UNKNOWN_ENVIRONMENT, f"{within}environment is {environment!r}; only 'production' is known")
    timestamp = fields.get("timestamp")
    if isinstance(timestamp, bool) or not (timestamp is None or isinstance(timestamp, str | int | float)):
        raise body.wrong_type(within + "timestamp", "a string or a number", timestamp)


def _message(refusal: Refusal) -> str:
    if refusal.reason in GATEWAYS_OWN:
        return refusal.message
    path = refusal.metadata.get("field", "")
    return f"{refusal.reason}: {refusal.message.replace(path, _as_sent(path), 1)}"


def _as_sent(path: str) -> str:
    """Return the path in the request of a field that the call has at `path`."""
    within, dot, name = path.rpartition(".")
    item = "" if within.startswith("aliases_to_identify") else within.removeprefix("requests") + dot
    return item + _NAMES.get(name, name)


def error(codes: Sequence[str]) -> Schema:
    """Return the schema of an error that has one of these codes. An array of which items failed has any code."""
    if FAILED not in codes:
        return _error(codes)
    item = {
        "index": number("The first item that failed, from 0."),
        "succeeded": number("How many items were done."),
    }
    return {"anyOf": [_error(codes), _error(sorted(set(CODES.values())), **item)]}


def _error(codes: Sequence[str], **more: Schema) -> Schema:
    return an_answer(
        {
            "ok": {"const": False},
            "error_code": text("What was wrong, for programs.", enum=list(codes)),
            "message": text("What was wrong: a reason, and a sentence for people."),
            **more,
        }
    )


_ENVIRONMENT: Final[dict[str, Schema]] = {
    "environment": {"enum": [*sorted(ENVIRONMENTS), None]},
    "timestamp": {"type": ["string", "number", "null"], "description": "Taken, and not kept."},
    **NO_PROFILE_DATA,
}

_PAIR: Final = an_object(
    {
        "distinct_id": text("Any id of the user; one that is unknown is made.", minLength=1, maxLength=400),
        "alias_id": optional_text("The id to link. Two users that both exist are joined.", maxLength=400),
        "new_user_id": optional_text("Another name of `alias_id`.", maxLength=400),
        **_ENVIRONMENT,
    },
    required=("distinct_id",),
    anyOf=[an_object({name: text(minLength=1)}, required=(name,)) for name in ("alias_id", "new_user_id")],
)

_DONE: Final[dict[str, Schema]] = {"ok": {"const": True}, "error_code": {"const": None}}

OPERATIONS: Final = (
    Operation(
        ("/alias",),
        alias,
        request={"anyOf": [_PAIR, array(_PAIR, minItems=1, maxItems=body.MAX_ITEMS["requests"])]},
        example={"distinct_id": "user_123", "alias_id": "stripe:cus_abc123"},
        status=200,
        answer=an_answer(_DONE),
    ),
    Operation(
        ("/identify",),
        identify,
        request=an_object(
            {
                "distinct_id": text("The id to know the user by.", minLength=1, maxLength=400),
                "anonymous_id": optional_text("What the user was known by before; linked where that is free."),
                **_ENVIRONMENT,
            },
            required=("distinct_id",),
        ),
        example={"distinct_id": "user_123", "anonymous_id": "session-1"},
        status=200,
        answer=an_answer(_DONE | {"message": text("Why the `anonymous_id` was not linked.")}, optional=("message",)),
    ),
)
