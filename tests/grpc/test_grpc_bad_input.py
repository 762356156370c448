"""Bad input: a clear error, nothing lost or half done, and the server serves on."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from aka.server.methods import METHODS
from aka.server.service import Session
from aka.server.servicer import AliasServicer
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Header,
    block,
    call,
    frame,
    message,
    peer_of,
)
from tests.grpc.wire import KEY, Held, Server, Wire, item_fields, outcomes, serving, wire_to

AUTHORIZED: Header = ("authorization", f"Bearer {KEY}")

RESOLVE = v1.ResolveRequest(identifiers=[v1.Identifier(id="u")]).SerializeToString()

NO_UUIDS = [
    "0",
    "u",
    "01890000-0000-7000-8000-00000000000",
    "01890000-0000-7000-8000-0000000000000",
    "0189000000007000800000000000000",
    "01890000000070008000000000000000",
    "01890000-0000-7000-8000-00000000000g",
    "01890000_0000_7000_8000_000000000000",
    "{01890000-0000-7000-8000-000000000000}",
    "urn:uuid:01890000-0000-7000-8000-000000000000",
    " 01890000-0000-7000-8000-000000000000",
    "01890000-0000-7000-8000-000000000000\n",
    "\uff10\uff11890000-0000-7000-8000-000000000000",
]

CONTROLS = ["\x00", "\x01", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]


def field(number: int, value: bytes) -> bytes:
    """Write a length-delimited protobuf field."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


async def serves(server: Server) -> bool:
    """Whether the server links and finds an id."""
    async with wire_to(server) as wire:
        (profile_id,) = await wire.identify("still-there")
        return await wire.profile_of("still-there") == profile_id


# Values.


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"ExportLinks"}))
async def test_an_empty_message_is_refused_at_its_first_required_field(wire: Wire, method: str) -> None:
    refusal = await wire.refused(method, b"")
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.field) in {
        ("FIELD_REQUIRED", "user_id"),
        ("FIELD_REQUIRED", "identifier.id"),
        ("FIELD_REQUIRED", "id"),
        ("BATCH_SIZE", "requests"),
        ("BATCH_SIZE", "user_aliases"),
        ("BATCH_SIZE", "aliases_to_identify"),
        ("BATCH_SIZE", "identifiers"),
        ("BATCH_SIZE", "links"),
        ("BATCH_SIZE", "attributes"),
        ("BATCH_SIZE", "profiles"),
    }


@pytest.mark.parametrize("value", NO_UUIDS)
async def test_what_is_no_uuid_is_no_profile_id(wire: Wire, value: str) -> None:
    refusal = await wire.refused("Alias", {"primary_user_id": value, "alias_id": "a"})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "primary_user_id")


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
async def test_a_control_character_is_refused_with_its_place(wire: Wire, control: str) -> None:
    refusal = await wire.refused("Alias", {"user_id": "u", "alias_id": f"ab{control}c"})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "alias_id")
    assert f"U+{ord(control):04X}" in refusal.message
    assert "position 2" in refusal.message


@pytest.mark.parametrize("name", ["alias_label", "alias_name", "external_id"])
async def test_a_control_character_in_a_batch_fails_its_item(wire: Wire, name: str) -> None:
    good = {"alias_label": "crm", "alias_name": "1"}
    answer = await wire("CreateAliases", {"user_aliases": [good, good | {name: "a\x00b"}]})
    assert outcomes(answer) == ["CREATED", "INVALID_VALUE"]
    assert item_fields(answer) == [None, f"user_aliases[1].{name}"]


@pytest.mark.parametrize("value", [" ", "\u200b", "\u2028", "\u00a0", "\ufeff", "\U0010ffff", "\ufffd", "a" * 400])
async def test_what_is_merely_odd_is_an_id(wire: Wire, value: str) -> None:
    (profile_id,) = await wire.identify(f"{value}x"[:400])
    assert await wire.profile_of(f"{value}x"[:400]) == profile_id


@pytest.mark.parametrize("value", ["a" * 400, "\u00e9" * 200, "\u20ac" * 133 + "a", "\U0001f600" * 100])
async def test_an_id_of_400_bytes_is_linked_and_found(wire: Wire, value: str) -> None:
    (profile_id,) = await wire.identify(value)
    assert await wire.profile_of(value) == profile_id


@pytest.mark.parametrize("value", ["a" * 401, "\u00e9" * 200 + "a", "\u20ac" * 134, "\U0001f600" * 100 + "a"])
async def test_an_id_over_400_bytes_is_refused_with_its_size(wire: Wire, value: str) -> None:
    refusal = await wire.refused("Alias", {"user_id": "u", "alias_id": value})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "alias_id")
    size = str(len(value.encode()))
    assert refusal.metadata == {"field": "alias_id", "bytes": size, "maximum": "400"}


@pytest.mark.parametrize("size", [236, 237])
@pytest.mark.parametrize("name", ["alias_label", "alias_name"])
async def test_a_label_and_a_name_may_have_236_bytes(wire: Wire, name: str, size: int) -> None:
    item = {"alias_label": "crm", "alias_name": "1"} | {name: "a" * size}
    answer = await wire("CreateAliases", {"user_aliases": [item]})
    assert outcomes(answer) == (["CREATED"] if size == 236 else ["INVALID_VALUE"])


async def test_ids_are_compared_byte_for_byte(wire: Wire) -> None:
    names = ["jos\u00e9", "jose\u0301", "JOS\u00c9", "jos\u00e9 ", "jose"]
    assert len(set(await wire.identify(*names))) == len(names)


# Messages.


@pytest.mark.parametrize("first", ["user_id", "primary_user_id"])
async def test_of_both_arms_of_a_oneof_the_last_one_counts(wire: Wire, first: str) -> None:
    (profile_id,) = await wire.identify("u")
    arms = [field(1, b"u"), field(2, profile_id.encode())]
    body = b"".join(arms if first == "user_id" else reversed(arms)) + field(3, b"a")
    assert (await wire("Alias", body))["profile_id"] == profile_id


async def test_both_arms_of_a_oneof_are_read_as_the_last_one_even_where_that_is_wrong(wire: Wire) -> None:
    await wire.identify("u")
    refusal = await wire.refused("Alias", field(1, b"u") + field(2, b"no-uuid") + field(3, b"a"))
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "primary_user_id")


@pytest.mark.parametrize(
    "text",
    [
        b"\xed\xa0\x80",
        b"\xed\xb0\x80",
        b"\xed\xa0\xbd\xed\xb8\x80",
        b"\xff",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"a\xe2\x82",
    ],
    ids=[
        "high surrogate",
        "low surrogate",
        "surrogate pair",
        "no UTF-8",
        "overlong NUL",
        "above U+10FFFF",
        "cut short",
    ],
)
async def test_a_string_that_is_no_utf8_is_refused(wire: Wire, text: bytes) -> None:
    refusal = await wire.refused("Alias", field(1, text) + field(3, b"a"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_VALUE")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff\xff",
        b"\x0a",
        b"\x0a\x7f",
        b"\x00",
        b"\x0b" * 200,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
    ids=["garbage", "no length", "too long a length", "field 0", "nested groups", "endless varint"],
)
async def test_a_message_that_cannot_be_decoded_is_refused(wire: Wire, method: str, body: bytes) -> None:
    refusal = await wire.refused(method, body)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_VALUE")


async def test_unknown_fields_are_ignored(wire: Wire) -> None:
    body = v1.AliasRequest(user_id="u", alias_id="a", create_missing=True).SerializeToString()
    assert (await wire("Alias", body + b"\xf2\x3f\x03new" + b"\xf8\x3f\x01"))["outcome"] == "OUTCOME_CREATED"


@pytest.mark.parametrize("value", [4, -1, 2**31 - 1, -(2**31)])
async def test_an_unknown_enum_value_is_refused(wire: Wire, value: int) -> None:
    await wire.identify("u")
    refusal = await wire.refused("Alias", {"user_id": "u", "alias_id": "a", "merge_policy": value})
    assert (refusal.reason, refusal.field, refusal.metadata["value"]) == ("INVALID_VALUE", "merge_policy", str(value))


async def test_a_message_of_another_rpc_links_nothing_by_accident(server: Server, wire: Wire) -> None:
    await wire.identify("u")
    other = v1.CreateAliasesRequest(user_aliases=[v1.NewUserAlias(anonymous_id="a")])
    await wire.refused("Alias", other.SerializeToString())
    assert len(server.rows("SELECT * FROM journal")) == 1


async def test_a_message_over_4_mib_is_refused_and_its_connection_serves_on(wire: Wire) -> None:
    refusal = await wire.refused("Alias", b"\0" * (5 * 1024 * 1024))
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await wire.identify("u")


async def test_a_message_just_under_4_mib_is_read(wire: Wire) -> None:
    items = [v1.Identifier(id="a" * 4000)] * 1000
    refusal = await wire.refused("Resolve", v1.ResolveRequest(identifiers=items).SerializeToString())
    assert refusal.field == "identifiers[0].id"


@pytest.mark.parametrize("method", ["BatchAlias", "CreateAliases", "Identify", "Resolve"])
async def test_a_million_empty_items_are_too_many(wire: Wire, method: str) -> None:
    refusal = await wire.refused(method, b"\x0a\x00" * 1_000_000)
    assert (refusal.reason, refusal.metadata["items"]) == ("BATCH_SIZE", "1000000")


# Metadata and methods.


async def test_metadata_over_8_kib_is_refused(wire: Wire) -> None:
    refusal = await wire.refused("Resolve", RESOLVE, (("x-long", "y" * 9000),))
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_that_nobody_asked_for_is_ignored(wire: Wire) -> None:
    await wire.send("Resolve", RESOLVE, (("x-anything", "y"), ("x-binary-bin", b"\x00\xff")))


async def test_a_binary_request_id_is_none(wire: Wire) -> None:
    reply = await wire.send("Resolve", RESOLVE, (("x-request-id-bin", b"mine"),))
    assert reply.trailers["x-request-id"] != "mine"


@pytest.mark.parametrize(
    "value", [b"caf\xe9", b"\xff\xfe", b"\xc3\xa9", b"\x80" * 300], ids=["latin", "bytes", "utf8", "long"]
)
async def test_headers_that_are_no_ascii_are_refused_without_a_bug(server: Server, value: bytes) -> None:
    async with peer_of(server.address) as peer:
        headers = call("Resolve", ("authorization", b"Bearer " + value), ("x-request-id", value))
        await peer.send(
            PREFACE,
            frame(SETTINGS, 0, 0),
            frame(HEADERS, END_HEADERS, 1, headers),
            frame(DATA, END_STREAM, 1, message(RESOLVE)),
        )
        end = (await peer.frames())[-1]
    assert end.kind == RST_STREAM or b"grpc-status\x0216" in end.payload
    assert await serves(server)


@pytest.mark.parametrize("path", ["/aka.v1.AliasService/Nope", "/aka.v1.Nope/Alias", "/aka.v1.AliasService/alias", "/"])
async def test_an_unknown_method_is_unimplemented(server: Server, path: str) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            stub: Any = channel.unary_unary(path)
            await stub(b"")
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_unary_rpc_called_as_a_stream_is_not_answered_by_a_bug(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = channel.stream_stream("/aka.v1.AliasService/Resolve")
        stream = stub(metadata=(AUTHORIZED,), timeout=0.2)  # grpc itself leaves such a call without an answer
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            for _ in range(2):
                await stream.write(RESOLVE)
            await stream.done_writing()
        code, details = await stream.code(), await stream.details()
    assert code != grpc.StatusCode.UNKNOWN
    assert code != grpc.StatusCode.INTERNAL or details == "Internal error from Core"  # the client's own, of its writes
    assert await serves(server)


async def test_a_compressed_message_is_read(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address, compression=grpc.Compression.Gzip) as channel:
        stub: Any = channel.unary_unary("/aka.v1.AliasService/Resolve")
        body = v1.ResolveRequest(identifiers=[v1.Identifier(id="u" * 300)] * 100).SerializeToString()
        response = v1.ResolveResponse.FromString(await stub(body, metadata=(AUTHORIZED,)))
    assert len(response.resolutions) == 100


# Connections.

OPENING = PREFACE + frame(SETTINGS, 0, 0)
CALLED = OPENING + frame(HEADERS, END_HEADERS, 1, call("Resolve", AUTHORIZED, ("grpc-timeout", "200m")))

GARBAGE = {
    "HTTP/1.1": b"POST /aka.v1.AliasService/Alias HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no preface": b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(256)),
    "zeros": b"\0" * 4096,
    "half a preface": PREFACE[:12],
    "a preface twice": PREFACE * 2,
    "no settings": PREFACE + frame(DATA, 0, 1, b"x"),
    "an unknown kind of frame": OPENING + frame(250, 255, 7, b"x" * 100),
    "a frame that is too large": OPENING + (2**24 - 1).to_bytes(3) + bytes([DATA, 0, 0, 0, 0, 1]) + b"x" * 100,
    "a header block that is garbage": OPENING + frame(HEADERS, END_HEADERS, 1, b"\xff" * 200),
    "an even stream": OPENING + frame(HEADERS, END_HEADERS | END_STREAM, 2, call("Resolve", AUTHORIZED)),
    "headers without an end": OPENING + frame(HEADERS, 0, 1, call("Resolve")) + frame(DATA, 0, 1, b"x"),
    "endless continuations": OPENING
    + frame(HEADERS, 0, 1, call("Resolve"))
    + frame(CONTINUATION, 0, 1, block(("x-a", "b" * 100))) * 200,
    "no path": OPENING + frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":method", "POST"))),
    "a message cut short": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE)[:-1]),
    "a message without its length": CALLED + frame(DATA, END_STREAM, 1, b"\0\0"),
    "a message longer than it says": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE, length=1)),
    "a message of 4 GiB": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE, length=2**32 - 1)),
    "an unknown compression": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE, compressed=1)),
    "a flag that is none": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE, compressed=255)),
    "no message": CALLED + frame(DATA, END_STREAM, 1),
    "two messages": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE) * 2),
    "a reset": CALLED + frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    "half a frame": CALLED + frame(DATA, END_STREAM, 1, message(RESOLVE))[:-3],
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_on_a_connection_harms_nobody_else(server: Server, sent: bytes) -> None:
    async with peer_of(server.address) as peer:
        await peer.send(sent)
        assert await serves(server)
    assert await serves(server)


@pytest.mark.parametrize(
    "name", ["a message cut short", "a message without its length", "a message of 4 GiB", "a flag that is none"]
)
async def test_a_truncated_message_is_never_answered_with_ok(server: Server, name: str) -> None:
    # grpc leaves a call whose message never came whole without an answer, up to its deadline.
    async with peer_of(server.address) as peer:
        await peer.send(GARBAGE[name])
        end = (await peer.frames())[-1]
    assert end.kind == RST_STREAM or b"grpc-status\x010" not in end.payload


async def test_many_connections_that_say_nothing_harm_nobody(server: Server) -> None:
    peers = [await asyncio.open_connection(*server.address.split(":")) for _ in range(100)]
    try:
        assert await serves(server)
    finally:
        for _, writer in peers:
            writer.close()


# Deadlines and callers who leave.


async def test_a_call_knows_how_long_its_caller_waits(tmp_path: Path) -> None:
    deadlines: list[float | None] = []

    class Telling(AliasServicer):
        async def Resolve(self, request: v1.ResolveRequest, session: Session) -> v1.ResolveResponse:
            deadlines.append(session.deadline)
            return await super().Resolve(request, session)

    async with serving(tmp_path / "aka.db", servicer=Telling) as server, wire_to(server) as wire:
        await wire.send("Resolve", RESOLVE, within=1000)
        await wire.send("Resolve", RESOLVE, within=None)
    limited, unlimited = deadlines
    now = asyncio.get_running_loop().time()
    assert limited is not None
    assert now < limited <= now + 1000 * 1.05  # gRPC sends three digits or fewer, rounded up
    assert unlimited is None


@pytest.mark.parametrize("value", ["0n", "1n", "1u", "99999999H", "-1S", "1x", "", "999999999999S"])
async def test_any_timeout_header_leaves_the_server_serving(server: Server, value: str) -> None:
    async with peer_of(server.address) as peer:
        headers = call("Resolve", AUTHORIZED, ("grpc-timeout", value))
        await peer.send(OPENING, frame(HEADERS, END_HEADERS, 1, headers), frame(DATA, END_STREAM, 1, message(RESOLVE)))
        ended = any(answer.ends_a_call for answer in await peer.frames())
    assert ended
    assert await serves(server)


async def test_a_caller_who_hangs_up_before_the_work_begins_changes_nothing(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path / "aka.db", servicer=held.servicer) as server, wire_to(server) as wire:
        running = wire.start("Alias", {"user_id": "u", "alias_id": "a", "create_missing": True})
        await held.entered.wait()
        running.cancel()
        await held.left.wait()
        assert (server.rows("SELECT * FROM journal"), await serves(server)) == ([], True)


async def test_a_caller_whose_deadline_passes_before_the_work_begins_changes_nothing(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path / "aka.db", servicer=held.servicer) as server, wire_to(server) as wire:
        body = {"user_id": "u", "alias_id": "a", "create_missing": True}
        running = wire.start("Alias", body, within=0.05)
        assert await running.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await held.left.wait()
        assert (server.rows("SELECT * FROM journal"), await serves(server)) == ([], True)


async def test_callers_who_hang_up_at_any_time_leave_the_database_sound(server: Server, wire: Wire) -> None:
    calls = []
    for number in range(300):
        body = {"user_id": f"u{number % 7}", "alias_id": f"a{number}", "create_missing": True}
        running = wire.start("Alias", body)
        calls.append(running)
        if number % 3:
            await asyncio.sleep(0)
        if number % 2:
            calls[number // 2].cancel()
    await asyncio.gather(*(running.code() for running in calls))
    assert await serves(server)


async def test_a_call_that_was_acknowledged_is_there_whatever_its_neighbours_did(server: Server, wire: Wire) -> None:
    calls = [
        wire.start("Alias", {"user_id": f"u{number}", "alias_id": f"a{number}", "create_missing": True})
        for number in range(200)
    ]
    for running in calls[::2]:
        running.cancel()
    codes = await asyncio.gather(*(running.code() for running in calls))
    linked = {name for (name,) in server.rows("SELECT name FROM identifiers")}
    acknowledged = {f"a{number}" for number, code in enumerate(codes) if code == grpc.StatusCode.OK}
    assert acknowledged <= linked


async def test_a_connection_that_breaks_in_the_middle_of_calls_harms_nobody_else(server: Server) -> None:
    body = v1.AliasRequest(user_id="u", alias_id="a", create_missing=True).SerializeToString()
    for _ in range(20):
        async with peer_of(server.address) as peer:
            await peer.send(
                OPENING,
                frame(HEADERS, END_HEADERS, 1, call("Alias", AUTHORIZED)),
                frame(DATA, END_STREAM, 1, message(body)),
            )
    assert await serves(server)


# The store.


async def test_a_store_that_is_locked_is_unavailable_and_changes_nothing(server: Server, wire: Wire) -> None:
    lock = server.connect()
    lock.execute("BEGIN IMMEDIATE")
    try:
        refusal = await wire.refused("Identify", {"aliases_to_identify": [{"external_id": "u"}]})
    finally:
        lock.close()
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert refusal.retry is not None
    assert await wire.profile_of("u") == ""


async def test_reads_go_on_while_the_store_cannot_be_written(server: Server, wire: Wire) -> None:
    (profile_id,) = await wire.identify("u")
    lock = server.connect()
    lock.execute("BEGIN IMMEDIATE")
    try:
        assert await wire.profile_of("u") == profile_id
    finally:
        lock.close()


async def test_more_than_can_wait_is_refused_at_once_as_overload(server: Server, wire: Wire) -> None:
    items = [{"alias_label": "crm", "alias_name": str(number)} for number in range(50)]
    lock = server.connect()
    lock.execute("BEGIN IMMEDIATE")
    try:
        calls = [asyncio.ensure_future(wire.refused("CreateAliases", {"user_aliases": items})) for _ in range(110)]
        (first, *_), _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    finally:
        lock.close()
    assert (first.result().code, first.result().reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert first.result().retry is not None
    await asyncio.gather(*calls, return_exceptions=True)
