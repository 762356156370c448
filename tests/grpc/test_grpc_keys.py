"""Who may call: keys, permissions, workspaces, revocation."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from aka.server import keys
from aka.server.keys import PERMISSIONS, looks_mistyped, new_secret
from aka.server.methods import METHODS
from tests.grpc.wire import KEY, Refused, Server, Wire, outcomes

NEEDS = {
    "Resolve": "profiles.read",
    "GetProfile": "profiles.read",
    "ExportLinks": "profiles.export",
    "Track": "profiles.write",
    "ExportProfiles": "profiles.export",
}
"""The permission that a method needs where it changes nothing."""

BODIES: dict[str, dict[str, Any]] = {
    "Alias": {"user_id": "u", "alias_id": "a"},
    "BatchAlias": {"requests": [{"user_id": "u", "alias_id": "a"}]},
    "CreateAliases": {"user_aliases": [{"alias_label": "crm", "alias_name": "1"}]},
    "Identify": {"aliases_to_identify": [{"external_id": "v"}]},
    "Resolve": {"identifiers": [{"id": "u"}]},
    "GetProfile": {"identifier": {"id": "u"}},
    "DeleteAlias": {"id": "b"},
    "ImportLinks": {"links": [{"user_id": "u", "alias_id": "c"}]},
    "ExportLinks": {},
    "Track": {"events": [{"external_id": "u", "name": "seen"}]},
    "ExportProfiles": {"profiles": [{"id": "u"}]},
}
"""A good call of each RPC, for a user `u` with an alias `b`."""

MERGE = {"user_id": "u", "alias_id": "v", "merge_policy": "MERGE_POLICY_ALWAYS"}

NOW = time.time_ns() // 1000
HOUR = 3600 * 1_000_000


def bearer(value: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", value),)


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_without_a_key_is_refused(wire: Wire, method: str) -> None:
    refusal = await wire.with_key(None).refused(method, BODIES[method])
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_MISSING")


@pytest.mark.parametrize(
    "authorization",
    [KEY, f"Basic {KEY}", f"Token {KEY}", f"Bearer{KEY}", "Bearer", "bearer:", f"Bearer x {KEY}", "Bearer nobody's"],
)
async def test_a_key_that_is_unknown_or_not_sent_as_bearer_is_invalid(wire: Wire, authorization: str) -> None:
    refusal = await wire.with_key(None).refused("Resolve", BODIES["Resolve"], bearer(authorization))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_INVALID")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(wire: Wire, scheme: str) -> None:
    await wire.identify("u")
    await wire.with_key(None).send("Resolve", BODIES["Resolve"], bearer(f"{scheme} {KEY}"))


async def test_an_unknown_key_is_not_told_back(wire: Wire) -> None:
    refusal = await wire.with_key("the-key-of-nobody-at-all").refused("Resolve", BODIES["Resolve"])
    assert "the-key-of-nobody-at-all" not in str(refusal.trailers) + refusal.message


async def test_a_mistyped_key_is_told_so(server: Server, wire: Wire) -> None:
    key = server.add_key("profiles.read")
    mistyped = key[:10] + ("0" if key[10] != "0" else "1") + key[11:]
    refusal = await wire.with_key(mistyped).refused("Resolve", BODIES["Resolve"])
    assert (refusal.reason, "mistyped" in refusal.message) == ("KEY_INVALID", True)


async def test_a_well_typed_key_of_nobody_is_not_called_mistyped(wire: Wire) -> None:
    refusal = await wire.with_key(new_secret()).refused("Resolve", BODIES["Resolve"])
    assert "mistyped" not in refusal.message


def test_a_new_key_has_128_random_bits_and_a_checksum() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("aka_") and len(key) == 4 + 32 + 8 and not looks_mistyped(key) for key in made)


async def test_a_key_is_kept_as_its_hash_alone(server: Server) -> None:
    key = server.add_key("profiles.read")
    kept = server.rows("SELECT * FROM api_keys")
    assert keys.digest(key) in [value for row in kept for value in row]
    assert key not in str(kept)


async def test_a_revoked_key_is_refused(server: Server, wire: Wire) -> None:
    revoked = wire.with_key(server.add_key("profiles.read", revoked_at=NOW))
    refusal = await revoked.refused("Resolve", BODIES["Resolve"])
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_REVOKED")
    assert "was revoked" in refusal.message


async def test_an_expired_key_is_refused_as_revoked(server: Server, wire: Wire) -> None:
    expired = wire.with_key(server.add_key("profiles.read", expires_at=NOW - HOUR))
    refusal = await expired.refused("Resolve", BODIES["Resolve"])
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_REVOKED")
    assert "has expired" in refusal.message


async def test_a_key_that_expires_later_is_good(server: Server, wire: Wire) -> None:
    await wire.with_key(server.add_key("profiles.read", expires_at=NOW + HOUR))("Resolve", BODIES["Resolve"])


async def test_a_key_that_was_used_is_refused_within_a_second_of_its_revocation_elsewhere(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = wire.with_key(server.add_key("profiles.read"))
    await client("Resolve", BODIES["Resolve"])
    server.rows("UPDATE api_keys SET revoked_at = ? WHERE name = 'test'", NOW)
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 1.0)
    assert (await client.refused("Resolve", BODIES["Resolve"])).reason == "KEY_REVOKED"


async def test_a_key_that_was_deleted_is_unknown_within_a_second(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = wire.with_key(server.add_key("profiles.read"))
    await client("Resolve", BODIES["Resolve"])
    server.rows("DELETE FROM api_keys WHERE name = 'test'")
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 1.0)
    assert (await client.refused("Resolve", BODIES["Resolve"])).reason == "KEY_INVALID"


async def test_a_new_key_is_good_at_once_though_it_was_unknown_before(server: Server, wire: Wire) -> None:
    key = server.add_key("profiles.read")
    (kept,) = server.rows("SELECT * FROM api_keys WHERE name = 'test'")
    server.rows("DELETE FROM api_keys WHERE name = 'test'")
    await wire.with_key(key).refused("Resolve", BODIES["Resolve"])
    server.rows(f"INSERT INTO api_keys VALUES ({', '.join('?' * len(kept))})", *kept)
    await wire.with_key(key)("Resolve", BODIES["Resolve"])


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_needs_its_permission_and_no_other(server: Server, wire: Wire, method: str) -> None:
    await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "b"})
    needed = NEEDS.get(method, "aliases.write")
    await wire.with_key(server.add_key(needed))(method, BODIES[method])


@pytest.mark.parametrize("validate_only", [False, True], ids=["done", "tried"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_call_without_its_permission_is_refused(
    server: Server, wire: Wire, method: str, validate_only: bool
) -> None:
    needed = NEEDS.get(method, "aliases.write")
    body = BODIES[method] | ({"validate_only": True} if validate_only and method not in NEEDS else {})
    refusal = await wire.with_key(server.all_but(needed)).refused(method, body)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert refusal.metadata == {"permission": needed}


@pytest.mark.parametrize("validate_only", [False, True], ids=["done", "tried"])
async def test_joining_two_identified_profiles_needs_profiles_merge(
    server: Server, wire: Wire, validate_only: bool
) -> None:
    await wire.identify("u", "v")
    body = MERGE | {"validate_only": validate_only}
    refusal = await wire.with_key(server.all_but("profiles.merge")).refused("Alias", body)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert refusal.metadata["permission"] == "profiles.merge"


@pytest.mark.parametrize("validate_only", [False, True], ids=["done", "tried"])
async def test_in_a_batch_the_item_that_would_join_two_identified_profiles_is_refused(
    server: Server, wire: Wire, validate_only: bool
) -> None:
    await wire.identify("u", "v")
    body = {"requests": [{"user_id": "u", "alias_id": "a"}, MERGE], "validate_only": validate_only}
    answer = await wire.with_key(server.all_but("profiles.merge"))("BatchAlias", body)
    assert outcomes(answer) == ["LINKED", "PERMISSION_MISSING"]


async def test_joining_with_an_anonymous_profile_needs_aliases_write_alone(server: Server, wire: Wire) -> None:
    await wire.identify("u")
    await wire.anonymous("v")
    answer = await wire.with_key(server.add_key("aliases.write"))("Alias", MERGE)
    assert answer["outcome"] == "OUTCOME_MERGED"


async def test_an_unknown_user_that_joins_an_identified_profile_needs_aliases_write_alone(
    server: Server, wire: Wire
) -> None:
    await wire.identify("v")
    answer = await wire.with_key(server.add_key("aliases.write"))("Alias", MERGE | {"create_missing": True})
    assert answer["outcome"] == "OUTCOME_LINKED"


async def test_the_permission_to_merge_is_asked_before_labels_are_compared(server: Server, wire: Wire) -> None:
    await wire.identify("u", "v")
    for external_id, name in (("u", "1"), ("v", "2")):
        pair = {"alias_label": "crm", "alias_name": name, "external_id": external_id}
        await wire("CreateAliases", {"user_aliases": [pair]})
    assert (await wire.refused("Alias", MERGE)).reason == "LABEL_TAKEN"
    refusal = await wire.with_key(server.all_but("profiles.merge")).refused("Alias", MERGE)
    assert refusal.reason == "PERMISSION_MISSING"


async def test_a_key_sees_only_its_own_workspace(server: Server, wire: Wire) -> None:
    (mine,) = await wire.identify("u")
    other = wire.with_key(server.add_key(*PERMISSIONS, workspace="other"))
    (theirs,) = await other.identify("u")
    assert (mine == theirs, await wire.profile_of("u"), await other.profile_of("u")) == (False, mine, theirs)


async def test_another_workspaces_profile_id_is_nobodys(server: Server, wire: Wire) -> None:
    (mine,) = await wire.identify("u")
    other = wire.with_key(server.add_key(*PERMISSIONS, workspace="other"))
    reasons = [
        (await other.refused("GetProfile", {"identifier": {"profile_id": mine}})).reason,
        (await other.refused("Alias", {"primary_user_id": mine, "alias_id": "a"})).reason,
    ]
    assert reasons == ["PROFILE_NOT_FOUND", "PROFILE_NOT_FOUND"]


async def test_another_workspaces_identifiers_cannot_be_unlinked(server: Server, wire: Wire) -> None:
    await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    other = wire.with_key(server.add_key(*PERMISSIONS, workspace="other"))
    assert (await other.refused("DeleteAlias", {"id": "a"})).reason == "ALIAS_NOT_FOUND"


async def test_calls_of_two_workspaces_at_the_same_time_stay_apart(server: Server, wire: Wire) -> None:
    other = wire.with_key(server.add_key(*PERMISSIONS, workspace="other"))
    body = {"user_id": "u", "alias_id": "a", "create_missing": True}
    answers = await asyncio.gather(*(client("Alias", body) for client in (wire, other) * 10))
    assert len({answer["profile_id"] for answer in answers}) == 2


async def test_the_key_is_checked_before_the_message_is_read(wire: Wire) -> None:
    refusal = await wire.with_key(None).refused("Alias", b"\xff\xff")
    assert refusal.reason == "KEY_MISSING"


async def test_the_permission_is_checked_before_the_values(server: Server, wire: Wire) -> None:
    refusal = await wire.with_key(server.add_key("profiles.read")).refused("Alias", {})
    assert refusal.reason == "PERMISSION_MISSING"


async def test_the_first_key_holds_every_permission(server: Server) -> None:
    ((permissions,),) = server.rows("SELECT permissions FROM api_keys WHERE name = 'bootstrap'")
    assert set(permissions.split()) == PERMISSIONS


async def test_many_calls_with_a_new_key_at_once_are_all_good(server: Server, wire: Wire) -> None:
    client = wire.with_key(server.add_key("profiles.read"))
    answers = await asyncio.gather(*(client("Resolve", BODIES["Resolve"]) for _ in range(50)), return_exceptions=True)
    assert not [answer for answer in answers if isinstance(answer, Refused)]
