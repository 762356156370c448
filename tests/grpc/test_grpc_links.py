"""ImportLinks and ExportLinks over the wire: accounts, resuming, and what ends a stream."""

from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from aka.server import watch
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import UNKNOWN_UUID, Body, Refused, Server, Wire, serving, wire_to
from tests.privacy import SUITE

Links = list[dict[str, Any]]


def users(count: int, start: int = 0) -> Links:
    return [{"user_id": f"user-{number:05}"} for number in range(start, start + count)]


async def imported(wire: Wire, *messages: Body | Links) -> v1.ImportLinksResponse:
    """Import messages, or the links of some, as one stream."""
    call = wire.stream("ImportLinks")
    for message in messages:
        body: Any = {"links": message} if isinstance(message, list) else message
        SUITE.send(body)
        await call.write(wire.encoded("ImportLinks", body))
    await call.done_writing()
    answer: v1.ImportLinksResponse = await call
    return answer


async def begun(wire: Wire, links: Links) -> Any:
    """Begin a stream, and return when its first message, which ends with a new user, is done."""
    call = wire.stream("ImportLinks")
    await call.write(wire.encoded("ImportLinks", {"links": links}))
    while not await wire.profile_of(links[-1]["user_id"]):
        pass
    return call


async def exported(wire: Wire, token: str = "") -> list[v1.Link]:
    """Return all links behind a token."""
    messages = [message async for message in wire.stream("ExportLinks", {"resume_token": token})]
    return list(chain.from_iterable(message.links for message in messages))


async def refusal_of(call: Any) -> Refused:
    """Return the error of a stream that is given, read to its end."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in call:
            pass
    return Refused(error.value)


def told(link: v1.Link) -> tuple[str, ...]:
    """Return who is linked to what, and as what."""
    kind = link.WhichOneof("alias") or "user_id"
    pair = link.user_alias
    return (
        link.user_id,
        kind,
        *((pair.alias_label, pair.alias_name) if kind == "user_alias" else (getattr(link, kind),)),
    )


# The account.


async def test_an_import_tells_what_was_done_in_all_its_messages(wire: Wire) -> None:
    await wire.anonymous("cookie", "session")
    answer = await imported(
        wire,
        [{"user_id": "u", "alias_id": "a"}, {"user_id": "u", "anonymous_id": "x"}, {"user_id": "u", "alias_id": "u"}],
        [{"user_id": "u", "alias_id": "a"}, {"user_id": "u", "anonymous_id": "cookie"}, {"alias_id": "b"}],
        [{"user_id": "v", "anonymous_id": "session"}, {"user_alias": {"alias_label": "l", "alias_name": "n"}}],
    )
    assert (answer.links_received, answer.complete) == (8, True)
    done = (answer.created, answer.linked, answer.already_linked, answer.merged, answer.identified)
    assert done == (2, 1, 1, 1, 1)
    refused = [(link.index, v1.ErrorReason.Name(link.reason), link.error.code) for link in answer.refused]
    assert refused == [(2, "ERROR_REASON_SELF_ALIAS", 3), (5, "ERROR_REASON_FIELD_REQUIRED", 3)]


async def test_an_import_of_nothing_is_complete(wire: Wire) -> None:
    assert await imported(wire) == v1.ImportLinksResponse(complete=True)


async def test_what_was_imported_may_be_imported_again(wire: Wire) -> None:
    messages = [users(1000), [link | {"alias_id": f"a-{link['user_id']}"} for link in users(500)]]
    first, second = [await imported(wire, *messages) for _ in range(2)]
    assert (first.created, first.linked) == (1000, 500)
    assert (second.already_linked, second.links_received) == (1500, 1500)


async def test_a_refused_link_has_its_own_error_with_the_path_of_its_field(wire: Wire) -> None:
    answer = await imported(wire, [{"user_id": "u", "user_alias": {"alias_label": "", "alias_name": "n"}}])
    (refused,) = answer.refused
    assert refused.error.message == "Missing required field: user_alias.alias_label"


@pytest.mark.parametrize(
    ("link", "reason", "field"),
    [
        ({}, "FIELD_REQUIRED", "user_id"),
        ({"alias_id": "a"}, "FIELD_REQUIRED", "user_id"),
        ({"profile_id": UNKNOWN_UUID}, "FIELD_REQUIRED", "user_id"),
        ({"user_id": "u", "alias_id": ""}, "FIELD_REQUIRED", "alias_id"),
        ({"user_id": "u", "anonymous_id": ""}, "FIELD_REQUIRED", "anonymous_id"),
        ({"user_id": "u", "user_alias": {}}, "FIELD_REQUIRED", "user_alias.alias_name"),
        ({"user_id": "u\0"}, "INVALID_VALUE", "user_id"),
        ({"user_id": "u", "alias_id": "a" * 401}, "INVALID_VALUE", "alias_id"),
        ({"user_id": "u", "profile_id": "u"}, "INVALID_VALUE", "profile_id"),
        ({"user_id": "u", "profile_id": "c73bcdcc-2669-4bf6-81d3-e4ae73fb11fd"}, "INVALID_VALUE", "profile_id"),
        ({"anonymous_id": "null"}, "RESERVED_IDENTIFIER", "anonymous_id"),
    ],
)
async def test_a_malformed_link_is_refused_and_those_beside_it_are_not(
    wire: Wire, link: dict[str, Any], reason: str, field: str
) -> None:
    answer = await imported(wire, [*users(1), link, *users(1, 1)])
    (refused,) = answer.refused
    assert (refused.index, v1.ErrorReason.Name(refused.reason)) == (1, f"ERROR_REASON_{reason}")
    assert field in refused.error.message
    assert answer.created == 2


async def test_links_that_are_tried_are_not_made(wire: Wire) -> None:
    answer = await imported(wire, {"links": [*users(2), {}], "validate_only": True})
    assert (answer.created, len(answer.refused)) == (2, 1)
    assert await exported(wire) == []


async def test_each_message_has_its_own_merge_policy(server: Server, wire: Wire) -> None:
    await wire.identify("u", "v", "w")
    answer = await imported(
        wire,
        {"links": [{"user_id": "u", "alias_id": "v"}], "merge_policy": "MERGE_POLICY_ALWAYS"},
        {"links": [{"user_id": "u", "alias_id": "w"}]},
    )
    assert (answer.merged, [link.reason for link in answer.refused]) == (1, [v1.ERROR_REASON_IDENTIFIED_PROFILE])
    by = wire.with_key(server.all_but("profiles.merge"))
    answer = await imported(by, {"links": [{"user_id": "u", "alias_id": "w"}], "merge_policy": "MERGE_POLICY_ALWAYS"})
    assert [link.reason for link in answer.refused] == [v1.ERROR_REASON_PERMISSION_MISSING]


async def test_the_journal_tells_whose_links_they_are(server: Server, wire: Wire) -> None:
    await wire.send("ImportLinks", {"links": users(300)}, (("x-request-id", "mine"),))
    assert server.rows("SELECT request, kind, count(*) FROM journal GROUP BY 1, 2") == [("mine", "created", 300)]


# What ends an import.


async def test_an_import_with_a_thousand_refusals_ends_and_another_goes_on(wire: Wire) -> None:
    bad = [{"alias_id": "a"}] * 1000
    answer = await imported(wire, users(500), bad, users(500, 500))
    assert (answer.links_received, answer.complete, len(answer.refused)) == (1500, False, 1000)
    assert answer.refused[-1].index == 1499
    assert not await wire.profile_of("user-00500")


async def test_the_answer_with_the_longest_refusals_fits_into_a_message(wire: Wire) -> None:
    longest = ["\U000e0001" * 99 + f"{number:04}" for number in range(1000)]
    await imported(wire, [{"user_id": name} for name in longest])
    answer = await imported(wire, [{"user_id": "u", "alias_id": name} for name in longest])
    assert {link.reason for link in answer.refused} == {v1.ERROR_REASON_IDENTIFIED_PROFILE}
    assert answer.links_received == 1000


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"links": []}, "BATCH_SIZE"),
        ({"links": users(1001)}, "BATCH_SIZE"),
        ({"links": users(1), "merge_policy": 9}, "INVALID_VALUE"),
        (b"\xff", "INVALID_VALUE"),
    ],
)
async def test_a_message_that_is_none_is_the_calls_error_or_ends_it_behind_what_was_done(
    wire: Wire, message: Body, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await imported(wire, message)
    assert Refused(error.value).reason == reason
    answer = await imported(wire, users(3), message)
    assert (answer.links_received, answer.created, answer.complete) == (3, 3, False)


async def test_a_message_beyond_the_rate_limit_ends_an_import_behind_what_was_done(tmp_path: Path) -> None:
    async with serving(tmp_path / "aka.db", rate_limit="1000/hour") as server, wire_to(server) as wire:
        answer = await imported(wire, users(600), users(300, 600), users(200, 900), users(1, 1100))
        assert (answer.links_received, answer.complete) == (900, False)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await imported(wire, users(200, 900))
        refusal = Refused(error.value)
        assert (refusal.reason, refusal.trailers["x-ratelimit-remaining"]) == ("RATE_LIMITED", "100")
        assert refusal.retry is not None


async def test_a_key_that_is_revoked_ends_an_import_behind_what_was_done(server: Server, wire: Wire) -> None:
    made = await wire("CreateKey", {"name": "crm", "permissions": ["aliases.write"]})
    call = wire.with_key(made["secret"]).stream("ImportLinks")
    await call.write(wire.encoded("ImportLinks", {"links": users(1)}))
    while not await wire.profile_of("user-00000"):
        pass
    await wire("RevokeKey", {"key_id": made["key"]["key_id"]})
    await call.write(wire.encoded("ImportLinks", {"links": users(1, 1)}))
    answer = await call
    assert (answer.links_received, answer.complete) == (1, False)
    assert not await wire.profile_of("user-00001")


async def test_a_server_that_stops_answers_an_import_with_what_was_done(server: Server, wire: Wire) -> None:
    call = await begun(wire, users(300))
    await server.grpc.stop(10)
    answer = await call
    assert (answer.links_received, answer.created, answer.complete) == (300, 300, False)


async def test_a_server_that_stops_refuses_an_import_that_has_brought_nothing(server: Server, wire: Wire) -> None:
    call = wire.stream("ImportLinks")
    await call.wait_for_connection()
    await server.grpc.stop(10)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_what_was_brought_before_a_deadline_is_kept(wire: Wire) -> None:
    call = wire.stream("ImportLinks", within=1.0)
    await call.write(wire.encoded("ImportLinks", {"links": users(1)}))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert await wire.profile_of("user-00000")


async def test_a_caller_who_leaves_leaves_a_server_that_serves_on(wire: Wire) -> None:
    (await begun(wire, users(3))).cancel()
    export = wire.stream("ExportLinks")
    await anext(aiter(export))
    export.cancel()
    assert (await imported(wire, users(3))).already_linked == 3


# Exports.


async def test_an_export_has_every_link_in_order_with_its_kind(wire: Wire) -> None:
    await imported(
        wire,
        [
            {"user_id": "u", "alias_id": "b"},
            {"user_id": "u", "anonymous_id": "a"},
            {"user_id": "u", "user_alias": {"alias_label": "crm", "alias_name": "1"}},
            {"anonymous_id": "z"},
        ],
    )
    links = await exported(wire)
    assert [told(link) for link in links] == [
        ("u", "anonymous_id", "a"),
        ("u", "alias_id", "b"),
        ("u", "user_id", "u"),
        ("", "anonymous_id", "z"),
        ("u", "user_alias", "crm", "1"),
    ]
    profile = await wire.profile_of("u")
    assert {link.profile_id for link in links if link.user_id} == {profile}
    assert all(link.linked_at.seconds for link in links)


async def test_an_export_that_is_imported_elsewhere_is_the_same_export(tmp_path: Path, wire: Wire) -> None:
    await imported(wire, users(700), [{"user_id": "user-00001", "anonymous_id": f"x{n}"} for n in range(500)])
    await wire.anonymous("cookie", "session")
    await wire("Alias", {"user_id": "cookie", "alias_id": "a-first"})
    await wire("CreateAliases", {"user_aliases": [{"alias_label": "l", "alias_name": "n"}]})
    merge = {"user_id": "user-00001", "alias_id": "user-00002", "merge_policy": "MERGE_POLICY_ALWAYS"}
    await wire("Alias", merge)
    first = [message async for message in wire.stream("ExportLinks")]
    async with serving(tmp_path / "other.db") as other, wire_to(other) as elsewhere:
        answer = await imported(elsewhere, *(v1.ImportLinksRequest(links=message.links) for message in first))
        assert (answer.complete, len(answer.refused)) == (True, 0)
        second = await exported(elsewhere)
    links = list(chain.from_iterable(message.links for message in first))
    for link in chain(links, second):
        link.ClearField("linked_at")
    assert links == second
    assert len(links) == 1204


async def test_an_export_goes_on_behind_any_of_its_messages(wire: Wire) -> None:
    await imported(wire, *(users(1000, start) for start in range(0, 3000, 1000)), users(1, 3000))
    messages = [message async for message in wire.stream("ExportLinks")]
    assert [len(message.links) for message in messages] == [1000, 1000, 1000, 1]
    for number, message in enumerate(messages, 1):
        rest = [link for later in messages[number:] for link in later.links]
        assert await exported(wire, message.resume_token) == rest


async def test_an_export_of_nothing_is_nothing(wire: Wire) -> None:
    assert await exported(wire) == []


@pytest.mark.parametrize("token", ["?", "AAAA", "x" * 5000])
async def test_what_is_no_token_is_refused(wire: Wire, token: str) -> None:
    refusal = await refusal_of(wire.stream("ExportLinks", {"resume_token": token}))
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "resume_token")


async def test_another_lists_token_is_refused(wire: Wire) -> None:
    await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    page = await wire("GetProfile", {"identifier": {"id": "u"}, "page_size": 1})
    refusal = await refusal_of(wire.stream("ExportLinks", {"resume_token": page["next_page_token"]}))
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "resume_token")


async def test_another_workspaces_token_is_refused(server: Server, wire: Wire) -> None:
    await imported(wire, users(1))
    token = [message async for message in wire.stream("ExportLinks")][-1].resume_token
    other = wire.with_key(server.add_key("profiles.export", workspace="acme"))
    refusal = await refusal_of(other.stream("ExportLinks", {"resume_token": token}))
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "resume_token")


async def large(wire: Wire, messages: int) -> None:
    """Import users with the longest ids, so many messages of an export."""
    for start in range(messages):
        links = [{"user_id": f"{start * 1000 + number:0400}"} for number in range(1000)]
        await imported(wire, links)


async def test_an_export_waits_for_its_reader_and_a_stop_ends_it_behind_what_was_sent(
    server: Server, wire: Wire
) -> None:
    await large(wire, 20)
    call = wire.stream("ExportLinks")
    read = [await anext(aiter(call))]
    await server.grpc.stop(10)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for message in call:
            read.append(message)
    refusal = Refused(error.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert len(read) < 20, "all was sent to a caller who had read one message"
    token = read[-1].resume_token
    async with serving(server.database.with_name("copy.db")) as empty, wire_to(empty) as elsewhere:
        assert await exported(elsewhere, token) == []


async def test_a_key_that_is_revoked_ends_an_export(server: Server, wire: Wire) -> None:
    await large(wire, 20)
    made = await wire("CreateKey", {"name": "crm", "permissions": ["profiles.export"]})
    call = wire.with_key(made["secret"]).stream("ExportLinks")
    await anext(aiter(call))
    await wire("RevokeKey", {"key_id": made["key"]["key_id"]})
    assert (await refusal_of(call)).reason == "KEY_REVOKED"


async def test_each_message_of_an_export_counts_one_against_the_rate_limit(tmp_path: Path) -> None:
    async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
        await imported(wire, users(1000), users(1000, 1000), users(1000, 2000))
    async with serving(tmp_path / "aka.db", rate_limit="2/hour") as server, wire_to(server) as wire:
        call = wire.stream("ExportLinks")
        read: list[v1.ExportLinksResponse] = []
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for message in call:
                read.append(message)
        assert (Refused(error.value).reason, len(read)) == ("RATE_LIMITED", 2)


async def test_a_workspace_exports_its_own_links(server: Server, wire: Wire) -> None:
    await imported(wire, users(3))
    other = wire.with_key(server.add_key("profiles.export", "aliases.write", workspace="acme"))
    await imported(other, users(2))
    assert [len(await exported(each)) for each in (wire, other)] == [3, 2]


# Seen from outside.


async def test_refused_links_are_counted_by_reason(server: Server, wire: Wire) -> None:
    await imported(wire, [{}, *users(1), {"user_id": "u", "alias_id": "u"}])
    refusals = server.pipeline.metrics.refusals
    assert (refusals[v1.ERROR_REASON_FIELD_REQUIRED], refusals[v1.ERROR_REASON_SELF_ALIAS]) == (1, 1)


async def test_a_stream_is_not_called_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SLOW", 0.0)
    with structlog.testing.capture_logs() as logged:
        async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
            await imported(wire, users(1))
            await exported(wire)
            await wire.profile_of("user-00000")
    assert {entry["method"]: entry["log_level"] for entry in logged if "method" in entry} == {
        "ImportLinks": "debug",
        "ExportLinks": "debug",
        "Resolve": "warning",
    }
