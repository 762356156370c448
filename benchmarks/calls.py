"""The calls that the rows make: each made once and looked at before it is made many times."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
import httpx
import msgspec
from google.protobuf.message import Message

from aka.server.methods import METHODS, SERVICE
from aka.v1 import alias_service_pb2 as v1
from benchmarks import echo
from benchmarks.load import Calls, LoadFailed, Number, mark
from benchmarks.servers import Server

BATCH: Final = 100
"""Items of a BatchAlias."""
ITEMS: Final = 50
"""Items of a CreateAliases."""
MANY: Final = 1000
"""Identifiers of a Resolve of many."""


def tried(
    server: Server,
    key: str,
    name: str,
    message: Message,
    numbers: Sequence[Number],
    good: Callable[[Any], bool],
    *,
    items: int = 1,
) -> Calls:
    """Make a call, see that the answer is good, and return the calls to make like it.

    Its marks stand as they are, so that it is like no later one, but for the lowest of numbers that are random. A mark
    is as wide as its number, so every later answer must have the size of this one. Raises LoadFailed.
    """
    method = f"/{SERVICE}/{name}"
    body = message.SerializeToString()
    with grpc.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary(method, response_deserializer=METHODS[name].response.FromString)
        try:
            answer = call(_first(body, numbers), metadata=(("authorization", f"Bearer {key}"),), timeout=30)
        except grpc.RpcError as error:
            raise LoadFailed(f"{method}: {error}") from None
    if not good(answer):
        raise LoadFailed(f"{method} was answered with {answer}")
    return Calls(method, body, numbers, answer.ByteSize(), items=items)


def tried_rest(
    server: Server, key: str, path: str, sent: object, numbers: Sequence[Number], good: Callable[[Any], bool]
) -> Calls:
    """Return POSTs of JSON to make, as `tried` does."""
    body = msgspec.json.encode(sent)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    first = _first(body, numbers)
    answer = httpx.post(f"http://{server.address}{path}", content=first, headers=headers, timeout=30)
    if answer.status_code != 200 or not good(answer.json()):
        raise LoadFailed(f"{path} was answered with {answer.status_code} {answer.text}")
    return Calls(path, body, numbers, len(answer.content), protocol="http")


def _first(body: bytes, numbers: Sequence[Number]) -> bytes:
    for place, number in enumerate(numbers):
        if number.below is not None:
            body = body.replace(mark(place).encode(), f"{number.base:08}".encode())
    return body


def echoed(calls: Calls) -> Calls:
    """Return calls of the echo with the same requests and answers."""
    return Calls(echo.METHOD, calls.body, calls.numbers, calls.answer_size)


def new_alias(server: Server, key: str) -> Calls:
    """Alias of two new ids."""
    message = v1.AliasRequest(user_id=f"user-{mark(0)}", alias_id=f"alias-{mark(0)}", create_missing=True)
    return tried(server, key, "Alias", message, [Number()], lambda answer: answer.outcome == v1.OUTCOME_CREATED)


def scattered_alias(server: Server, key: str, ids: int) -> Calls:
    """Alias of two new ids whose places among the ids that `generate` made are random."""
    user, alias = f"id-{mark(0)}-{mark(2)}", f"id-{mark(1)}-{mark(2)}-alias"
    message = v1.AliasRequest(user_id=user, alias_id=alias, create_missing=True)
    numbers = [Number(below=ids), Number(below=ids), Number()]
    return tried(server, key, "Alias", message, numbers, lambda answer: answer.outcome == v1.OUTCOME_CREATED)


def new_rest_alias(server: Server, key: str) -> Calls:
    """`POST /alias` of two new ids."""
    sent = {"distinct_id": f"user-{mark(0)}", "alias_id": f"alias-{mark(0)}"}
    return tried_rest(server, key, "/alias", sent, [Number()], lambda answer: answer["ok"] is True)


def new_peer_alias(server: Server, key: str) -> Calls:
    """The peer's `POST /alias` of two new ids."""
    sent = {"user_id": f"new-user-{mark(0)}", "alias_id": f"new-alias-{mark(0)}"}
    return tried_rest(server, key, "/alias", sent, [Number()], lambda answer: answer["outcome"] == "created")


def peer_resolve(server: Server, key: str, ids: int) -> Calls:
    """The peer's `POST /resolve` of one random id of those that `raw.add_profiles` made."""
    sent, numbers = {"id": f"user-{mark(0)}"}, [Number(below=ids)]
    return tried_rest(server, key, "/resolve", sent, numbers, lambda answer: answer["identified"])


def new_profiles(server: Server, key: str) -> Calls:
    """BatchAlias of new ids: profiles with the ids `id-0` and `id-1`, `id-2` and `id-3`, and so on."""
    requests = [
        v1.AliasRequest(user_id=f"id-{mark(2 * item)}", alias_id=f"id-{mark(2 * item + 1)}", create_missing=True)
        for item in range(BATCH)
    ]
    numbers = [Number(base=place, step=2 * BATCH) for place in range(2 * BATCH)]
    return tried(server, key, "BatchAlias", v1.BatchAliasRequest(requests=requests), numbers, no_item_failed)


def resolve(server: Server, key: str, ids: int, many: int = 1) -> Calls:
    """Resolve of random ids of those that `new_profiles` or `generate` made."""
    message = v1.ResolveRequest(identifiers=[v1.Identifier(id=f"id-{mark(0)}")] * many)

    def good(answer: v1.ResolveResponse) -> bool:
        return all(each.found for each in answer.resolutions)

    return tried(server, key, "Resolve", message, [Number(below=ids)], good, items=many)


def new_user_aliases(server: Server, key: str) -> Calls:
    """CreateAliases of new user aliases without an external id: each makes an anonymous profile."""
    items = [v1.NewUserAlias(alias_label="crm", alias_name=f"name-{mark(item)}") for item in range(ITEMS)]
    numbers = [Number(base=item, step=ITEMS) for item in range(ITEMS)]
    message = v1.CreateAliasesRequest(user_aliases=items)
    return tried(server, key, "CreateAliases", message, numbers, no_item_failed, items=ITEMS)


def no_item_failed(answer: v1.BatchAliasResponse | v1.CreateAliasesResponse | v1.IdentifyResponse) -> bool:
    """Whether every item of a batch was done."""
    return all(result.WhichOneof("result") == "outcome" for result in answer.results)
