"""Braze's dialect: `POST /users/alias/new`, `/users/identify`, `/users/track` and `/users/export/ids`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aka.server.gateway import body, braze_export, braze_track
from aka.server.gateway.answer import Answer
from aka.server.gateway.braze_items import PAIR, USER_ALIAS, a_request, failed, failed_items, user_alias
from aka.server.gateway.calls import Caller, Stub, bearer
from aka.server.gateway.operation import Operation, Security
from aka.server.gateway.refusal import MALFORMED, Refusal
from aka.server.gateway.schema import Schema, an_answer, an_object, array, number, optional_text, text
from aka.v1 import alias_service_pb2 as v1

NAME: Final = "Braze"
SECURITY: Final[Security] = ({"bearer": []}, {})
CODE: Final[str | None] = None

T = TypeVar("T")

_BEHAVIORS: Final = {
    None: v1.MERGE_BEHAVIOR_UNSPECIFIED,
    "none": v1.MERGE_BEHAVIOR_NONE,
    "merge": v1.MERGE_BEHAVIOR_MERGE,
}


def authorization(headers: Mapping[str, str], sent: Any) -> str | None:
    """Return the key of a request: the authorization header, else the body's `api_key`."""
    in_body = body.text(sent, "api_key") if isinstance(sent, dict) else None
    return headers.get("authorization") or bearer(in_body)


async def new_aliases(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Give users aliases, or make alias-only users: `user_aliases`, up to 50."""

    def read(item: dict[str, Any], within: str) -> v1.NewUserAlias:
        return v1.NewUserAlias(
            external_id=body.text(item, "external_id", within),
            alias_name=body.text(item, "alias_name", within) or "",
            alias_label=body.text(item, "alias_label", within) or "",
        )

    request = v1.CreateAliasesRequest(user_aliases=_items(sent, "user_aliases", read, v1.NewUserAlias()))
    answered = await caller.call(stub.CreateAliases, request, v1.CreateAliasesResponse)
    return _processed(answered, "user_aliases")


async def identify(sent: Any, caller: Caller, stub: Stub) -> Answer:
    """Identify alias-only users: `aliases_to_identify`, up to 50."""

    def read(item: dict[str, Any], within: str) -> v1.AliasToIdentify:
        pair = user_alias(body.members(item, "user_alias", within), f"{within}user_alias")
        return v1.AliasToIdentify(external_id=body.text(item, "external_id", within) or "", user_alias=pair)

    items = _items(sent, "aliases_to_identify", read, v1.AliasToIdentify())
    behavior = body.text(sent, "merge_behavior")
    request = v1.IdentifyRequest(
        aliases_to_identify=items, merge_behavior=_BEHAVIORS.get(behavior, v1.MERGE_BEHAVIOR_UNSPECIFIED)
    )
    refusal = None
    if behavior not in _BEHAVIORS:
        refusal = Refusal(MALFORMED, f"merge_behavior is {behavior!r}; 'none' or 'merge' is expected")
    answered = await caller.call(stub.Identify, request, v1.IdentifyResponse, refusal)
    return _processed(answered, "aliases_to_identify")


def refuse(refusal: Refusal) -> Answer:
    """Say in Braze's shape why a request was refused."""
    return Answer(refusal.http_status, {"message": refusal.message, "errors": []})


def _items(sent: Any, field: str, read: Callable[[dict[str, Any], str], T], empty: T) -> list[T]:
    def read_at(index: int, item: Any) -> T:
        return read(body.as_object(item, f"{field}[{index}]"), f"{field}[{index}].")

    return body.batch(body.array(body.as_object(sent), field), field, read_at, empty)


def _processed(answered: v1.CreateAliasesResponse | v1.IdentifyResponse, field: str) -> Answer:
    answer: dict[str, Any] = {"aliases_processed": answered.aliases_processed, "message": "success"}
    errors = [failed(item.error.message, field, item.index) for item in answered.results if item.HasField("error")]
    return Answer(201, answer | ({"errors": errors} if errors else {}))


def error(codes: Sequence[str]) -> Schema:
    """Return the schema of an error; it has no code. Only `/users/track` names items, where all of them failed."""
    failed_ones = failed_items(*braze_track.ARRAYS)
    return an_answer({"message": text("What was wrong, for people."), "errors": failed_ones})


def _request(field: str, item: dict[str, Schema], **more: Schema) -> Schema:
    items = array(an_object(item), minItems=1, maxItems=body.MAX_ITEMS[field])
    return a_request({field: items, **more}, required=(field,))


def _done(field: str) -> Schema:
    return an_answer(
        {
            "aliases_processed": number("How many items were done."),
            "message": {"const": "success"},
            "errors": failed_items(field, minItems=1),
        },
        optional=("errors",),
    )


OPERATIONS: Final = (
    Operation(
        ("/users/alias/new",),
        new_aliases,
        request=_request(
            "user_aliases",
            {"external_id": optional_text("Any id of the user. Absent: an alias-only user is made."), **PAIR},
        ),
        example={"user_aliases": [{"alias_name": "device-7", "alias_label": "kiosk"}]},
        status=201,
        answer=_done("user_aliases"),
    ),
    Operation(
        ("/users/identify",),
        identify,
        request=_request(
            "aliases_to_identify",
            {
                "external_id": optional_text("The id to know the user by. An item without it fails."),
                "user_alias": USER_ALIAS,
            },
            merge_behavior={"enum": [*_BEHAVIORS]},
        ),
        example={
            "aliases_to_identify": [
                {"external_id": "user_456", "user_alias": {"alias_name": "device-7", "alias_label": "kiosk"}}
            ]
        },
        status=201,
        answer=_done("aliases_to_identify"),
    ),
    braze_track.OPERATION,
    braze_export.OPERATION,
)
