"""Altertable's dialect: `POST /alias`, `POST /identify` and `POST /track`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from aka.server.gateway import body, values
from aka.server.gateway.answer import Answer
from aka.server.gateway.calls import Caller, Stub, bearer
from aka.server.gateway.operation import Operation, Security
from aka.server.gateway.refusal import GATEWAYS_OWN, MALFORMED, UNKNOWN_ENVIRONMENT, Refusal, refusal_of
from aka.server.gateway.schema import NO_DATA, Schema, an_answer, an_object, array, number, optional_text, text
from aka.v1 import alias_service_pb2 as v1

NAME: Final = "Altertable"
SECURITY: Final[Security] = ({"x-api-key": []}, {"bearer": []})
CODE: Final = "error_code"

ENVIRONMENTS: Final = frozenset({"production"})
OK: Final = Answer(200, {"ok": True, "error_code": None})

_DATA: Final = ("traits", "properties")

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
_CODES_BY_REASON: Final = {UNKNOWN_ENVIRONMENT: "environment-not-found", "TOO_MUCH_DATA": "invalid-request"}
"""Codes of single reasons, before those of their status."""
_NAMES: Final = {
    "user_id": "distinct_id",
    "external_id": "distinct_id",
    "attributes": "traits",
    "time": "timestamp",
}
"""What the calls' fields are called here, where it is not the same."""
_EVENT_NAMES: Final = {"anonymous_id": "distinct_id", "name": "event"}
"""The same of an event's, besides."""
_PATH: Final = re.compile(r"(?:aliases_to_identify\[\d+\]\.|requests)?(\[\d+\]\.)?(\w+)(.*)", re.DOTALL)
"""Which item of the array, if it was one, the field, and where in it."""


def authorization(headers: Mapping[str, str], sent: Any) -> str | None:
    """Return the key of a request: `X-API-Key`, else the authorization header."""
    return bearer(headers.get("x-api-key")) or headers.get("authorization")


async def alias(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Join `distinct_id` and `alias_id` (or `new_user_id`): one pair, or an array of up to 100."""
    if not isinstance(sent, list):
        request = _alias_request(body.as_object(sent), "")
        await caller.call(stub.Alias, request, v1.AliasResponse, body.data_in(sent, *_DATA))
        return OK

    def read(index: int, item: Any) -> v1.AliasRequest:
        return _alias_request(body.as_object(item, f"[{index}]"), f"[{index}].")

    requests = v1.BatchAliasRequest(requests=body.batch(sent, "requests", read, v1.AliasRequest()))
    read_items = enumerate(sent[: body.MAX_ITEMS["requests"]])
    refusals = filter(None, (body.data_in(item, *_DATA, within=f"[{index}].") for index, item in read_items))
    batch = await caller.call(stub.BatchAlias, requests, v1.BatchAliasResponse, next(refusals, None))
    refused = [
        (result.index, refusal)
        for result in batch.results
        if result.HasField("error") and (refusal := refusal_of(result.error)).reason != "SELF_ALIAS"
    ]
    return _answer_array(refused, len(batch.results))


async def identify(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Make `distinct_id` known, with its `anonymous_id` where that is free to follow, and store its `traits`.

    A trait keeps its value where `timestamp` is older than that. The user is made known and the traits are stored, or
    neither.
    """
    fields = body.as_object(sent)
    _check_environment(fields, "")
    distinct_id = body.required_text(fields, "distinct_id")
    anonymous_id = body.text(fields, "anonymous_id")
    traits, refusal = body.members(fields, "traits"), body.data_in(fields, "properties")
    alone = v1.AliasToIdentify(external_id=distinct_id)
    try:
        time = _time(fields, "")
        if traits:
            attributes = await caller.read(values.struct, traits, "traits")
            alone = v1.AliasToIdentify(external_id=distinct_id, attributes=attributes, time=time)
    except Refusal as fault:
        refusal = fault
    items = [alone]
    if anonymous_id:
        # The second makes a login succeed though the anonymous id is someone else's (a shared device) or rubbish. Both
        # have the traits, so that neither is done without them.
        together = v1.AliasToIdentify(anonymous_id=anonymous_id)
        together.MergeFrom(alone)
        items = [together, alone]
    request = v1.IdentifyRequest(aliases_to_identify=items)
    answered = await caller.call(stub.Identify, request, v1.IdentifyResponse, refusal)
    last = answered.results[-1]
    if last.HasField("error"):
        raise refusal_of(last.error)
    first = answered.results[0]
    if first.HasField("error"):
        why = _message(refusal_of(first.error))
        return Answer(200, OK.body | {"message": f"The anonymous_id was not linked: {why}"})
    return OK


async def track(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Store an event of `distinct_id`: one, or an array of up to 75.

    A user who is unknown is made, and is not known by the id before it is identified.
    """
    is_array = isinstance(sent, list)
    items = sent if is_array else [sent]
    refusals: list[Refusal] = []
    faults: dict[int, Refusal] = {}

    def read(index: int, item: Any) -> v1.Event:
        name = f"[{index}]" if is_array else ""
        fields, within = body.as_object(item, name), name and f"{name}."
        if refusal := body.data_in(fields, "traits", within=within):
            refusals.append(refusal)
        try:
            return _event(fields, within)
        except Refusal as fault:
            if fault.reason != MALFORMED:  # the shape is the whole request's, a value the event's
                raise
            faults[index] = fault
            return v1.Event()  # it keeps its place, counts, and fails there

    request = v1.TrackRequest(events=await caller.read(body.batch, items, "events", read, v1.Event()))
    answered = await caller.call(stub.Track, request, v1.TrackResponse, next(iter(refusals), None))
    refused = [
        (item.index, faults.get(item.index) or refusal_of(item.error).renamed(_in_events)) for item in answered.errors
    ]
    if is_array:
        return _answer_array(refused, len(items))
    for _, refusal in refused:
        raise refusal.renamed(lambda path: path.removeprefix("[0]."))
    return OK


def refuse(refusal: Refusal) -> Answer:
    """Say in Altertable's shape why a request was refused. Linking an id to itself is no refusal there."""
    if refusal.reason == "SELF_ALIAS":
        return OK
    status = refusal.http_status
    code = _CODES_BY_REASON.get(refusal.reason) or CODES[status]
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


def _event(fields: dict[str, Any], within: str) -> v1.Event:
    _check_environment(fields, within)
    name = body.required_text(fields, "event", within)
    distinct_id, anonymous_id = body.text(fields, "distinct_id", within), body.text(fields, "anonymous_id", within)
    if not (distinct_id or anonymous_id):
        raise body.missing(within + "distinct_id")
    properties = values.struct(body.members(fields, "properties", within), f"{within}properties")
    event = v1.Event(name=name, properties=properties, time=_time(fields, within))
    event.anonymous_id = distinct_id or anonymous_id or ""  # a visitor's is free to follow when the user is identified
    return event


def _time(fields: dict[str, Any], within: str) -> Timestamp | None:
    given = fields.get("timestamp")
    return None if given is None else values.time(given, f"{within}timestamp")


def _answer_array(refused: Sequence[tuple[int, Refusal]], items: int) -> Answer:
    """Answer an array: the first of those that were refused is told, and how many were not."""
    if not refused:
        return OK
    index, first = refused[0]
    return Answer(400, refuse(first).body | {"index": index, "succeeded": items - len(refused)})


def _message(refusal: Refusal) -> str:
    if refusal.reason in GATEWAYS_OWN:
        return refusal.message
    if refusal.reason == "BATCH_SIZE":
        return f"{refusal.reason}: {refusal.renamed(lambda _: 'The array').message}"
    return f"{refusal.reason}: {refusal.renamed(_as_sent).message}"


def _as_sent(path: str) -> str:
    """Return the path in the request of a field that the call has at `path`."""
    found = _PATH.fullmatch(path)
    assert found is not None, "a path begins with a name"
    item, name, inner = found.groups("")
    return item + _NAMES.get(name, name) + inner


def _in_events(path: str) -> str:
    """Return the path in an array of events of a field that Track has at `path`."""
    item, dot, field = path.removeprefix("events").partition(".")
    name, *inner = field.split(".", 1)
    return item + dot + ".".join([_EVENT_NAMES.get(name, name), *inner])


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


_ENVIRONMENT: Final[dict[str, Schema]] = {"environment": {"enum": [*sorted(ENVIRONMENTS), None]}}
_TIMESTAMP: Final[Schema] = {
    "type": ["string", "number", "null"],
    "description": "ISO 8601, or seconds since the epoch. Absent: now.",
}
_STORED: Final[Schema] = {"type": ["object", "null"], "additionalProperties": True}

_PAIR: Final = an_object(
    {
        "distinct_id": text("Any id of the user; one that is unknown is made.", minLength=1, maxLength=400),
        "alias_id": optional_text("The id to link. Two users that both exist are joined.", maxLength=400),
        "new_user_id": optional_text("Another name of `alias_id`.", maxLength=400),
        **_ENVIRONMENT,
        "timestamp": {"type": ["string", "number", "null"], "description": "Taken, and not kept."},
        **dict.fromkeys(_DATA, NO_DATA),
    },
    required=("distinct_id",),
    anyOf=[an_object({name: text(minLength=1)}, required=(name,)) for name in ("alias_id", "new_user_id")],
)

_EVENT: Final = an_object(
    {
        "event": text("What it was.", minLength=1, maxLength=255),
        "distinct_id": optional_text("Any id of the user; one that is unknown is made.", maxLength=400),
        "anonymous_id": optional_text("The same, where there is no `distinct_id`."),
        "properties": _STORED | {"description": "More about it."},
        "timestamp": _TIMESTAMP,
        **_ENVIRONMENT,
        "traits": NO_DATA,
    },
    required=("event",),
    anyOf=[an_object({name: text(minLength=1)}, required=(name,)) for name in ("distinct_id", "anonymous_id")],
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
                "traits": _STORED | {"description": "Attributes of the user. Null removes one."},
                "timestamp": _TIMESTAMP,
                "properties": NO_DATA,
            },
            required=("distinct_id",),
        ),
        example={"distinct_id": "user_123", "anonymous_id": "session-1", "traits": {"plan": "pro"}},
        status=200,
        answer=an_answer(_DONE | {"message": text("Why the `anonymous_id` was not linked.")}, optional=("message",)),
    ),
    Operation(
        ("/track",),
        track,
        request={"anyOf": [_EVENT, array(_EVENT, minItems=1, maxItems=body.MAX_ITEMS["events"])]},
        example={"event": "Purchase Completed", "distinct_id": "session-1", "properties": {"amount": 99.99}},
        status=200,
        answer=an_answer(_DONE),
    ),
)
