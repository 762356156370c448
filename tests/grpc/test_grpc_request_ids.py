"""x-request-id: what comes back, what is replaced, and where it is written."""

import uuid

import pytest

from aka.server.methods import METHODS
from tests.grpc.wire import Server, Wire

GOOD = ["mine", "a" * 64, "A-b_c.9", "0"]
MALFORMED = ["a" * 65, "two words", "a/b", "caf\u00e9".encode().hex() + "!", "semi;colon", "new+line"]


def is_uuid(text: object) -> bool:
    try:
        return str(uuid.UUID(str(text))) == text
    except ValueError:
        return False


@pytest.mark.parametrize("request_id", GOOD)
async def test_a_good_request_id_comes_back(wire: Wire, request_id: str) -> None:
    reply = await wire.send("Resolve", {"identifiers": [{"id": "u"}]}, (("x-request-id", request_id),))
    assert reply.trailers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", MALFORMED)
async def test_a_malformed_request_id_is_replaced(wire: Wire, request_id: str) -> None:
    reply = await wire.send("Resolve", {"identifiers": [{"id": "u"}]}, (("x-request-id", request_id),))
    assert is_uuid(reply.trailers["x-request-id"])


@pytest.mark.parametrize("metadata", [(), (("x-request-id", ""),)], ids=["absent", "empty"])
async def test_a_missing_request_id_is_made(wire: Wire, metadata: tuple[tuple[str, str], ...]) -> None:
    reply = await wire.send("Resolve", {"identifiers": [{"id": "u"}]}, metadata)
    assert is_uuid(reply.trailers["x-request-id"])


async def test_every_call_gets_another_one(wire: Wire) -> None:
    replies = [await wire.send("Resolve", {"identifiers": [{"id": "u"}]}) for _ in range(3)]
    assert len({reply.trailers["x-request-id"] for reply in replies}) == 3


@pytest.mark.parametrize("method", METHODS)
async def test_an_error_bears_the_request_id_in_its_trailers_and_details(wire: Wire, method: str) -> None:
    body = {"resume_token": "?"} if method == "ExportLinks" else {}
    refusal = await wire.refused(method, body, (("x-request-id", "mine"),))
    assert refusal.request is not None
    assert refusal.trailers["x-request-id"] == refusal.request.request_id == "mine"


async def test_an_error_of_the_key_bears_the_request_id(wire: Wire) -> None:
    refusal = await wire.with_key(None).refused("Alias", {}, (("x-request-id", "mine"),))
    assert refusal.request is not None
    assert refusal.trailers["x-request-id"] == refusal.request.request_id == "mine"


async def test_a_made_request_id_is_the_same_in_trailers_and_details(wire: Wire) -> None:
    refusal = await wire.refused("Alias", {})
    assert refusal.request is not None
    assert refusal.trailers["x-request-id"] == refusal.request.request_id


async def test_the_journal_has_each_changes_request_id(server: Server, wire: Wire) -> None:
    body = {"user_id": "u", "alias_id": "a", "create_missing": True}
    await wire.send("Alias", body, (("x-request-id", "first"),))
    made = await wire.send("Alias", {"user_id": "u", "alias_id": "b"})
    assert server.rows("SELECT request, kind FROM journal ORDER BY sequence") == [
        ("first", "created"),
        ("first", "linked"),
        (made.trailers["x-request-id"], "linked"),
    ]


async def test_the_journal_names_the_key_that_made_a_change(server: Server, wire: Wire) -> None:
    await wire.with_key(server.add_key("aliases.write"))("Identify", {"aliases_to_identify": [{"external_id": "u"}]})
    ((name,),) = server.rows("SELECT k.name FROM journal j JOIN api_keys k ON k.id = j.api_key")
    assert name == "test"


async def test_a_call_that_changes_nothing_is_not_in_the_journal(server: Server, wire: Wire) -> None:
    await wire.identify("u")
    await wire("Identify", {"aliases_to_identify": [{"external_id": "u"}]})
    assert len(server.rows("SELECT * FROM journal")) == 1
