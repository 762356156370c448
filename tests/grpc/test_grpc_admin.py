"""AdminService over the wire: keys and workspaces, who may make them, and what nobody sees."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog

from aka.server import bootstrap, keys
from aka.server.domain.rules import Rules
from aka.server.grpc_server import GrpcServer
from aka.server.keys import PERMISSIONS, KeyRing, looks_mistyped
from aka.server.methods import ADMIN_METHODS, SERVICE
from aka.server.pipeline import Pipeline
from aka.server.service import Service
from aka.server.servicer import AliasServicer
from aka.server.store.sqlite import SqliteStore
from aka.server.store.sqlite_file import MEMORY
from tests.grpc.wire import KEY, UNKNOWN_UUID, Refused, Server, Wire

BODIES: dict[str, dict[str, Any]] = {
    "CreateKey": {"name": "crm", "permissions": ["profiles.read"]},
    "ListKeys": {},
    "RevokeKey": {"key_id": UNKNOWN_UUID},
    "CreateWorkspace": {"name": "acme"},
    "ListWorkspaces": {},
}
"""A call of each RPC that is refused, if at all, by nothing but the key."""

OF_KEYS = ["CreateKey", "ListKeys", "RevokeKey"]
OF_WORKSPACES = ["CreateWorkspace", "ListWorkspaces"]

ASK = {"identifiers": [{"id": "u"}]}


async def create(wire: Wire, *permissions: str, **more: Any) -> tuple[dict[str, Any], Wire]:
    """Create a key, and return it with a client that has it."""
    answer = await wire("CreateKey", {"name": "crm", "permissions": permissions} | more)
    return answer["key"], wire.with_key(answer["secret"])


async def new_workspace(wire: Wire, name: str = "acme") -> Wire:
    """Create a workspace, and return a client with its first key."""
    return wire.with_key((await wire("CreateWorkspace", {"name": name}))["secret"])


async def listed(wire: Wire, **asked: Any) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = (await wire("ListKeys", asked)).get("keys", [])
    return keys


async def said(wire: Wire, method: str, body: dict[str, Any]) -> str:
    """Return OK or the reason of a call's error."""
    try:
        await wire(method, body)
    except Refused as refusal:
        return refusal.reason
    return "OK"


@asynccontextmanager
async def another_server(server: Server) -> AsyncIterator[Wire]:
    """Serve the same store once more, with what the servers remember of keys apart."""
    ring = KeyRing(server.store)
    pipeline = Pipeline({SERVICE: AliasServicer(Service(server.store), Rules(1000))}, ring, None)
    other = GrpcServer(pipeline, ring, reflection_needs="off")
    address = await other.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Wire(channel)
    finally:
        await other.stop(5)
        await ring.close()


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Put the event loop's clock forward."""
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + seconds)


def at(seconds: float) -> str:
    """Write a time from now on."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


# Who may call.


def test_there_is_a_body_for_every_rpc() -> None:
    assert BODIES.keys() == ADMIN_METHODS.keys() == {*OF_KEYS, *OF_WORKSPACES}


@pytest.mark.parametrize("method", BODIES)
async def test_a_call_without_a_key_is_refused(wire: Wire, method: str) -> None:
    assert await said(wire.with_key(None), method, BODIES[method]) == "KEY_MISSING"


@pytest.mark.parametrize("method", BODIES)
async def test_every_call_needs_more_than_all_other_permissions(server: Server, wire: Wire, method: str) -> None:
    others = wire.with_key(server.all_but("keys.admin", "operator"))
    refusal = await others.refused(method, BODIES[method])
    needed = "keys.admin" if method in OF_KEYS else "operator"
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert refusal.metadata == {"permission": needed}


@pytest.mark.parametrize("method", OF_WORKSPACES)
async def test_workspaces_need_operator(server: Server, wire: Wire, method: str) -> None:
    assert await said(wire.with_key(server.all_but("operator")), method, BODIES[method]) == "PERMISSION_MISSING"


@pytest.mark.parametrize("permission", ["keys.admin", "operator"])
@pytest.mark.parametrize("method", OF_KEYS)
async def test_keys_need_either_permission_alone(server: Server, wire: Wire, method: str, permission: str) -> None:
    body = BODIES[method] | ({"permissions": [permission]} if method == "CreateKey" else {})
    got = await said(wire.with_key(server.add_key(permission)), method, body)
    assert got == ("KEY_NOT_FOUND" if method == "RevokeKey" else "OK")


async def test_an_error_bears_the_request_id_and_a_call_counts_one(wire: Wire) -> None:
    refusal = await wire.refused("RevokeKey", BODIES["RevokeKey"], (("x-request-id", "mine"),))
    assert refusal.trailers["x-request-id"] == "mine"
    assert [method.cost(method.request()) for method in ADMIN_METHODS.values()] == [1] * len(ADMIN_METHODS)


# CreateKey.


async def test_a_new_key_is_good_at_once_and_may_do_what_it_was_given(wire: Wire) -> None:
    _, client = await create(wire, "profiles.read")
    assert await said(client, "Resolve", ASK) == "OK"
    assert await said(client, "Identify", {"aliases_to_identify": [{"external_id": "u"}]}) == "PERMISSION_MISSING"


async def test_a_new_key_is_told_in_full(wire: Wire) -> None:
    expires_at = at(3600)
    answer = await wire(
        "CreateKey", {"name": "crm", "permissions": ["operator", "keys.admin"], "expires_at": expires_at}
    )
    key = answer["key"]
    assert (key["name"], key["workspace"], key["expires_at"]) == ("crm", "default", expires_at)
    assert key["permissions"] == ["keys.admin", "operator"]
    assert answer["secret"].startswith(key["prefix"])
    assert not looks_mistyped(answer["secret"])
    assert {"created_at", "last_used_at", "revoked_at"} & key.keys() == {"created_at"}
    assert uuid.UUID(key["key_id"]).version == 7


async def test_a_permission_that_is_given_twice_is_given_once(wire: Wire) -> None:
    key, _ = await create(wire, "profiles.read", "profiles.read")
    assert key["permissions"] == ["profiles.read"]


@pytest.mark.parametrize("permission", sorted(PERMISSIONS - {"keys.admin"}))
async def test_a_key_cannot_grant_what_it_does_not_hold(server: Server, wire: Wire, permission: str) -> None:
    client = wire.with_key(server.all_but(permission))
    refusal = await client.refused("CreateKey", {"name": "crm", "permissions": ["keys.admin", permission]})
    assert (refusal.reason, refusal.metadata) == ("PERMISSION_MISSING", {"permission": permission})
    assert len(await listed(wire)) == 2


async def test_an_operator_grants_in_any_workspace_what_it_holds_and_nothing_else(server: Server, wire: Wire) -> None:
    await new_workspace(wire)
    client = wire.with_key(server.add_key("operator", "profiles.read"))
    key, made = await create(client, "profiles.read", workspace="acme")
    assert key["workspace"] == "acme"
    assert await said(made, "Resolve", ASK) == "OK"
    body = {"name": "crm", "permissions": ["keys.admin"], "workspace": "acme"}
    assert await said(client, "CreateKey", body) == "PERMISSION_MISSING"


@pytest.mark.parametrize("workspace", ["acme", "nobodys", "default"])
async def test_a_workspace_can_be_named_by_operators_alone(server: Server, wire: Wire, workspace: str) -> None:
    await new_workspace(wire)
    client = wire.with_key(server.all_but("operator"))
    for method in ("CreateKey", "ListKeys"):
        refusal = await client.refused(method, BODIES[method] | {"workspace": workspace})
        assert (refusal.reason, refusal.metadata) == ("PERMISSION_MISSING", {"permission": "operator"})


@pytest.mark.parametrize("method", ["CreateKey", "ListKeys"])
async def test_a_workspace_that_is_not_there_is_not_found(wire: Wire, method: str) -> None:
    refusal = await wire.refused(method, BODIES[method] | {"workspace": "nobodys"})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "WORKSPACE_NOT_FOUND")
    assert refusal.metadata == {"workspace": "nobodys"}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"name": ""}, "FIELD_REQUIRED", "name"),
        ({"name": "a" * 101}, "INVALID_VALUE", "name"),
        ({"name": "a\nb"}, "INVALID_VALUE", "name"),
        ({"permissions": []}, "FIELD_REQUIRED", "permissions"),
        ({"permissions": ["profiles.read", "all"]}, "INVALID_VALUE", "permissions[1]"),
        ({"permissions": [""]}, "INVALID_VALUE", "permissions[0]"),
        ({"expires_at": at(-1)}, "INVALID_VALUE", "expires_at"),
        ({"expires_at": "1969-12-31T23:59:59Z"}, "INVALID_VALUE", "expires_at"),
        ({"workspace": "a\x00"}, "INVALID_VALUE", "workspace"),
    ],
)
async def test_a_malformed_key_is_refused_at_its_field(
    wire: Wire, change: dict[str, Any], reason: str, field: str
) -> None:
    refusal = await wire.refused("CreateKey", BODIES["CreateKey"] | change)
    assert (refusal.reason, refusal.field) == (reason, field)


@pytest.mark.parametrize(("seconds", "nanos"), [(253402300800, 0), (2**62, 0), (4102444800, -1), (4102444800, 10**9)])
async def test_what_is_no_time_is_refused(wire: Wire, seconds: int, nanos: int) -> None:
    request = ADMIN_METHODS["CreateKey"].request(**BODIES["CreateKey"])
    request.expires_at.seconds, request.expires_at.nanos = seconds, nanos  # type: ignore[attr-defined]
    refusal = await wire.refused("CreateKey", request)
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "expires_at")


async def test_a_key_is_good_until_it_expires_and_not_after(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = await create(wire, "profiles.read", expires_at=at(3600))
    assert await said(client, "Resolve", ASK) == "OK"
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3601 * 10**9)
    later(monkeypatch, 3601)
    assert await said(client, "Resolve", ASK) == "KEY_REVOKED"


async def test_a_key_that_expires_soon_is_not_trusted_for_longer(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = time.time_ns() // 1000 + 60_000_000
    client = wire.with_key(server.add_key("profiles.read", expires_at=soon))
    monkeypatch.setattr(time, "time_ns", lambda: (soon - 100_000) * 1000)
    assert await said(client, "Resolve", ASK) == "OK"
    monkeypatch.setattr(time, "time_ns", lambda: (soon + 100_000) * 1000)
    later(monkeypatch, 0.2)
    assert await said(client, "Resolve", ASK) == "KEY_REVOKED"


# ListKeys.


async def test_keys_are_listed_oldest_first_without_their_secrets(wire: Wire) -> None:
    made = [await wire("CreateKey", BODIES["CreateKey"] | {"name": name}) for name in ("a", "b", "c")]
    shown = await listed(wire)
    assert [key["name"] for key in shown] == ["bootstrap", "a", "b", "c"]
    assert shown[1:] == [answer["key"] for answer in made]
    assert not [answer for answer in made if answer["secret"][10:] in str(shown)]


async def test_no_part_of_a_chosen_key_is_shown(wire: Wire) -> None:
    (first,) = await listed(wire)
    assert "prefix" not in first
    assert KEY[:4] not in str(first)


async def test_revoked_and_expired_keys_are_listed_with_their_times(server: Server, wire: Wire) -> None:
    server.add_key("profiles.read", expires_at=1_000_000, revoked_at=2_000_000)
    *_, key = await listed(wire)
    assert (key["expires_at"], key["revoked_at"]) == ("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z")


async def test_keys_are_listed_in_pages(wire: Wire) -> None:
    for number in range(5):
        await create(wire, "profiles.read", name=f"key-{number}")
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        answer = await wire("ListKeys", {"page_size": 2, "page_token": token})
        pages.append([key["name"] for key in answer["keys"]])
        token = answer.get("next_page_token", "")
    assert pages == [["bootstrap", "key-0"], ["key-1", "key-2"], ["key-3", "key-4"]]


@pytest.mark.parametrize("method", ["ListKeys", "ListWorkspaces"])
@pytest.mark.parametrize(
    ("body", "field"),
    [({"page_size": -1}, "page_size"), ({"page_token": "x"}, "page_token"), ({"page_token": "\u20ac"}, "page_token")],
)
async def test_a_malformed_page_is_refused_at_its_field(
    wire: Wire, method: str, body: dict[str, Any], field: str
) -> None:
    refusal = await wire.refused(method, body)
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", field)


async def test_a_page_token_is_of_one_list(wire: Wire) -> None:
    await create(wire, "profiles.read")
    await new_workspace(wire)
    token = (await wire("ListKeys", {"page_size": 1}))["next_page_token"]
    others = [("ListKeys", {"workspace": "acme"}), ("ListWorkspaces", {})]
    refusals = [await wire.refused(method, body | {"page_token": token}) for method, body in others]
    assert {refusal.field for refusal in refusals} == {"page_token"}


async def test_a_workspace_lists_its_own_keys_and_an_operator_those_of_any(wire: Wire) -> None:
    acme = await new_workspace(wire)
    await create(acme, "profiles.read", name="own")
    assert [key["name"] for key in await listed(acme)] == ["first", "own"]
    assert [key["name"] for key in await listed(wire, workspace="acme")] == ["first", "own"]
    assert [key["name"] for key in await listed(wire)] == ["bootstrap"]


# RevokeKey.


async def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(wire: Wire) -> None:
    key, client = await create(wire, "profiles.read")
    assert await said(client, "Resolve", ASK) == "OK"
    answer = await wire("RevokeKey", {"key_id": key["key_id"]})
    assert await said(client, "Resolve", ASK) == "KEY_REVOKED"
    assert answer["key"].keys() - key.keys() == {"revoked_at"}


async def test_a_key_may_revoke_itself(wire: Wire) -> None:
    key, client = await create(wire, "keys.admin")
    await client("RevokeKey", {"key_id": key["key_id"].upper()})
    assert await said(client, "ListKeys", {}) == "KEY_REVOKED"


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered() -> None:
    store = await SqliteStore.open(MEMORY)  # which looks up on another thread
    ring = KeyRing(store)
    try:
        await bootstrap.add_first_key(store, KEY)
        looking = asyncio.ensure_future(ring.check(f"Bearer {KEY}"))
        await asyncio.sleep(0)  # it waits for the store now
        ring.forget(b"the key's id")
        assert (await looking).name == bootstrap.NAME
        assert ring.known(f"Bearer {KEY}", asyncio.get_running_loop().time()) is None
    finally:
        await ring.close()
        await store.close()


async def test_revoking_again_succeeds_and_changes_nothing(wire: Wire) -> None:
    key, _ = await create(wire, "profiles.read")
    first, again = [await wire("RevokeKey", {"key_id": key["key_id"]}) for _ in range(2)]
    assert first == again


async def test_a_key_that_is_not_there_is_not_found(wire: Wire) -> None:
    refusal = await wire.refused("RevokeKey", {"key_id": UNKNOWN_UUID})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "KEY_NOT_FOUND")
    assert refusal.metadata == {"key_id": UNKNOWN_UUID}


@pytest.mark.parametrize(("key_id", "reason"), [("", "FIELD_REQUIRED"), ("crm", "INVALID_VALUE")])
async def test_what_is_no_keys_id_is_refused_at_its_field(wire: Wire, key_id: str, reason: str) -> None:
    refusal = await wire.refused("RevokeKey", {"key_id": key_id})
    assert (refusal.reason, refusal.field) == (reason, "key_id")


async def test_another_workspaces_key_is_as_unknown(server: Server, wire: Wire) -> None:
    acme = await new_workspace(wire)
    (theirs,) = await listed(acme)
    client = wire.with_key(server.all_but("operator"))
    refusals = [await client.refused("RevokeKey", {"key_id": key_id}) for key_id in (theirs["key_id"], UNKNOWN_UUID)]
    seen = {refusal.message.replace(refusal.metadata["key_id"], "ID") for refusal in refusals}
    assert (len(seen), {refusal.reason for refusal in refusals}) == (1, {"KEY_NOT_FOUND"})
    assert await said(acme, "Resolve", ASK) == "OK"


async def test_an_operator_revokes_the_keys_of_any_workspace(wire: Wire) -> None:
    acme = await new_workspace(wire)
    (theirs,) = await listed(acme)
    await wire("RevokeKey", {"key_id": theirs["key_id"]})
    assert await said(acme, "Resolve", ASK) == "KEY_REVOKED"


async def test_the_last_operator_key_cannot_be_revoked(server: Server, wire: Wire) -> None:
    server.add_key("operator", revoked_at=1)
    server.add_key("operator", expires_at=1)
    first, *_ = await listed(wire)
    refusal = await wire.refused("RevokeKey", {"key_id": first["key_id"]})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LAST_OPERATOR_KEY")
    assert await said(wire, "ListWorkspaces", {}) == "OK"


async def test_of_two_operator_keys_that_revoke_each_other_one_stays(wire: Wire) -> None:
    first, *_ = await listed(wire)
    key, other = await create(wire, "operator")
    await asyncio.gather(
        said(wire, "RevokeKey", {"key_id": key["key_id"]}), said(other, "RevokeKey", {"key_id": first["key_id"]})
    )
    left = [await said(client, "ListWorkspaces", {}) for client in (wire, other)]
    assert sorted(left) == ["KEY_REVOKED", "OK"]


async def test_an_expired_operator_key_may_be_revoked(server: Server, wire: Wire) -> None:
    server.add_key("operator", expires_at=1)
    *_, expired = await listed(wire)
    assert "revoked_at" in (await wire("RevokeKey", {"key_id": expired["key_id"]}))["key"]


async def test_a_key_is_rotated_without_a_call_refused(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, before = await create(wire, "profiles.read")
    async with another_server(server) as elsewhere:
        both = [before, elsewhere.with_key(before.key)]
        assert [await said(client, "Resolve", ASK) for client in both] == ["OK", "OK"]
        _, after = await create(wire, *old["permissions"], name=old["name"])
        both += [after, elsewhere.with_key(after.key)]
        assert [await said(client, "Resolve", ASK) for client in both] == ["OK"] * 4
        await wire("RevokeKey", {"key_id": old["key_id"]})
        assert await said(before, "Resolve", ASK) == "KEY_REVOKED"
        later(monkeypatch, 1.0)
        assert [await said(client, "Resolve", ASK) for client in both] == ["KEY_REVOKED", "KEY_REVOKED", "OK", "OK"]


# Workspaces.


async def test_a_workspaces_first_key_may_do_everything_but_operate(wire: Wire) -> None:
    answer = await wire("CreateWorkspace", {"name": "acme"})
    assert answer["key"]["permissions"] == sorted(PERMISSIONS - {"operator"})
    assert (answer["workspace"]["name"], answer["key"]["workspace"], answer["key"]["name"]) == ("acme", "acme", "first")


async def test_a_workspaces_first_key_has_no_more_than_its_makers(server: Server, wire: Wire) -> None:
    answer = await wire.with_key(server.add_key("operator", "profiles.read"))("CreateWorkspace", {"name": "acme"})
    assert answer["key"]["permissions"] == ["profiles.read"]


async def test_a_key_that_can_only_operate_has_nothing_to_give_to_a_workspace(server: Server, wire: Wire) -> None:
    client = wire.with_key(server.add_key("operator"))
    assert await said(client, "CreateWorkspace", {"name": "acme"}) == "PERMISSION_MISSING"
    assert [space["name"] for space in (await wire("ListWorkspaces", {}))["workspaces"]] == ["default"]


async def test_a_new_workspace_is_empty_and_apart(wire: Wire) -> None:
    await wire.identify("u")
    acme = await new_workspace(wire)
    assert await acme.profile_of("u") == ""
    await acme.identify("u")
    assert await acme.profile_of("u") != await wire.profile_of("u")


async def test_a_workspaces_name_is_taken_once(wire: Wire) -> None:
    await new_workspace(wire)
    refusal = await wire.refused("CreateWorkspace", {"name": "acme"})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "WORKSPACE_EXISTS")
    assert len(await listed(wire, workspace="acme")) == 1
    assert await said(wire, "CreateWorkspace", {"name": "Acme"}) == "OK"


@pytest.mark.parametrize(("name", "reason"), [("", "FIELD_REQUIRED"), ("a\x7f", "INVALID_VALUE")])
async def test_a_malformed_workspace_is_refused(wire: Wire, name: str, reason: str) -> None:
    refusal = await wire.refused("CreateWorkspace", {"name": name})
    assert (refusal.reason, refusal.field) == (reason, "name")


async def test_workspaces_are_listed_by_name_in_pages(wire: Wire) -> None:
    for name in ("z", "B", "a"):
        await new_workspace(wire, name)
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        answer = await wire("ListWorkspaces", {"page_size": 3, "page_token": token})
        pages.append([workspace["name"] for workspace in answer["workspaces"]])
        token = answer.get("next_page_token", "")
    assert pages == [["B", "a", "default"], ["z"]]


# When a key was last used.


async def test_uses_are_gathered_rather_than_written_a_call(server: Server, wire: Wire) -> None:
    for _ in range(3):
        await wire("Resolve", ASK)
    used = "SELECT last_used_at FROM api_keys"
    assert server.rows(used) == [(None,)]
    await server.keys.close()
    ((at,),) = server.rows(used)
    assert 0 <= time.time_ns() // 1000 - at < 3600 * 10**6


async def test_uses_are_written_in_time(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "USES_ARE_WRITTEN_AFTER", 0.0)
    async with asyncio.timeout(30):
        while "last_used_at" not in (await listed(wire))[0]:
            pass


async def test_a_key_that_was_refused_was_not_used(server: Server, wire: Wire) -> None:
    revoked = wire.with_key(server.add_key("profiles.read", revoked_at=1))
    assert await said(revoked, "Resolve", ASK) == "KEY_REVOKED"
    await server.keys.close()
    assert server.rows("SELECT last_used_at FROM api_keys WHERE name = 'test'") == [(None,)]


async def test_uses_that_cannot_be_written_are_written_the_next_time(server: Server, wire: Wire) -> None:
    await wire("Resolve", ASK)
    lock = server.connect()
    lock.execute("BEGIN IMMEDIATE")
    await server.keys.close()
    lock.close()
    await server.keys.close()
    assert server.rows("SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL") == [(1,)]


# What is logged.


async def test_what_was_done_is_logged_by_ids_alone(wire: Wire) -> None:
    with structlog.testing.capture_logs() as logged:
        key, client = await create(wire, "keys.admin", name="jane.doe")
        await client("RevokeKey", {"key_id": key["key_id"]})
        await new_workspace(wire, "jane.doe inc")
    logged = [entry for entry in logged if entry["event"] != "call"]
    assert [entry["event"] for entry in logged] == ["API key created", "API key revoked", "workspace created"]
    assert logged[1]["key"] == logged[1]["by"] == key["key_id"]
    assert "jane.doe" not in str(logged)
    assert str(client.key) not in str(logged)
