"""Thousands of malformed and mutated messages: no bug, no lost call, a sound database (the fixture's last look)."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aka.server.keys import PERMISSIONS
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import RPCS, UNKNOWN_UUID, Refused, Server, Wire

AT_ONCE = 64
DEEPEST = 8
"""Levels of messages within messages that have themselves in them."""

VALUES = [
    *("u", "v", "a", "anon", "nobody", "crm", "1", "null", "undefined", "0", "-1", "[object Object]", "' '"),
    *("", " ", "\x00", "a\nb", "\x7f", "\u0085", "\u2028", "\ufeff", "\U0001f600", "\U0010ffff", "e\u0301"),
    *("a" * 236, "a" * 237, "a" * 400, "a" * 401, "\u20ac" * 133, "\u20ac" * 134, "x" * 5000),
    *(UNKNOWN_UUID, UNKNOWN_UUID.upper(), "%s", "'; DROP TABLE profiles; --", "%00", "\\u0000", "{}"),
]

PIECES = [
    *(b"\x00", b"\xff", b"\x80", b"\x7f", b"\x0a\x00", b"\x12\x00", b"\x1a\x01\x00", b"\x0a\xff\xff\xff\xff\x0f"),
    *(
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\x0b",
        b"\x0c",
        b"\x20\x01",
        b"\x28\x01",
        b"\x30\xff\x01",
        b"\xf8\xff\xff\xff\x0f",
    ),
]

VARIED = [item.SerializeToString() for item in (v1.Identifier(id="u"), v1.UserAlias(alias_name="1", alias_label="crm"))]


async def harmless(wire: Wire, calls: Iterable[tuple[str, bytes]]) -> list[str]:
    """Make calls, some at once, and return the reason or OK of each; none may be a bug or end without aka's word."""

    async def one(method: str, body: bytes) -> str:
        try:
            await wire.send(method, body)
        except Refused as refusal:
            if refusal.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) or not refusal.reason:
                pytest.fail(f"{method} {body!r}: {refusal.code} {refusal.message}")
            return refusal.reason
        return "OK"

    listed = list(calls)
    said: list[str] = []
    for start in range(0, len(listed), AT_ONCE):
        said += await asyncio.gather(*(one(*call) for call in listed[start : start + AT_ONCE]))
    return said


async def serves(wire: Wire) -> bool:
    (profile_id,) = await wire.identify("still-there")
    return await wire.profile_of("still-there") == profile_id


def filled(chance: random.Random, message: Message, known: list[str], depth: int = 0) -> Message:
    """Fill a message at random: good values, bad ones, and ids that exist."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.35 or depth > DEEPEST:
            continue
        inner = getattr(message, field.name)
        if field.is_repeated:
            for _ in range(chance.choice((1, 1, 2, 5, 20)) if depth < 3 else 1):
                if field.message_type is None:
                    inner.append(_value(chance, field, known))
                elif field.message_type.GetOptions().map_entry:
                    filled(chance, inner[_value(chance, field.message_type.fields[0], known)], known, depth + 1)
                else:
                    filled(chance, inner.add(), known, depth + 1)
        elif field.message_type is not None:
            inner.SetInParent()
            filled(chance, inner, known, depth + 1)
        else:
            setattr(message, field.name, _value(chance, field, known))
    return message


def _value(chance: random.Random, field: Any, known: list[str]) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(known if chance.random() < 0.5 else VALUES)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.3
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return chance.choice((0.0, -1.5, 1e300, float("nan"), float("inf")))
    return chance.choice((0, 1, 2, 3, 1, 2, 3, 4, -1, 2**31 - 1, -(2**31)))


def mutated(chance: random.Random, body: bytes, others: list[bytes]) -> bytes:
    """Change a few bytes of a message: flip, cut, double, insert, join with another."""
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(6):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at : at + chance.randrange(1, 9)]
            case 2:
                changed[at:at] = changed[at : at + chance.randrange(1, 40)]
            case 3:
                changed[at:at] = chance.choice(PIECES)
            case 4:
                del changed[at:]
            case _:
                changed += chance.choice(others)
    return bytes(changed)


async def known_ids(wire: Wire) -> list[str]:
    """Make a few profiles and return ids, labels and profile ids of them, a workspace, and the permissions."""
    profile_ids = await wire.identify("u", "v", "w") + await wire.anonymous("anon", "b")
    await wire("CreateAliases", {"user_aliases": [{"external_id": "u", "alias_label": "crm", "alias_name": "1"}]})
    return ["u", "v", "w", "anon", "b", "crm", "1", "default", *sorted(PERMISSIONS), *profile_ids]


@pytest.mark.parametrize("seed", range(2))
async def test_messages_filled_at_random_meet_no_bug(wire: Wire, seed: int) -> None:
    chance = random.Random(seed)
    known = await known_ids(wire)
    calls = [
        (method.name, filled(chance, method.request(), known).SerializeToString())
        for method in RPCS.values()
        for _ in range(200)
    ]
    chance.shuffle(calls)
    said = await harmless(wire, calls)
    assert len(set(said)) > 8, set(said)
    assert await serves(wire)


@pytest.mark.parametrize("seed", range(2))
async def test_messages_whose_bytes_were_changed_meet_no_bug(wire: Wire, seed: int) -> None:
    chance = random.Random(seed)
    known = await known_ids(wire)
    whole = [
        (method.name, filled(chance, method.request(), known).SerializeToString())
        for method in RPCS.values()
        for _ in range(20)
    ]
    others = [body for _, body in whole] + VARIED
    calls = []
    for _ in range(1500):
        method, body = chance.choice(whole)
        calls.append((method, mutated(chance, body, others)))
    said = await harmless(wire, calls)
    assert {"OK", "INVALID_VALUE", "FIELD_REQUIRED"} <= set(said)
    assert await serves(wire)


async def test_bytes_that_are_no_message_at_all_meet_no_bug(wire: Wire) -> None:
    chance = random.Random(0)
    calls = [(chance.choice(list(RPCS)), chance.randbytes(chance.choice((1, 2, 5, 30, 500)))) for _ in range(1000)]
    await harmless(wire, calls)
    assert await serves(wire)


JSON_OBJECTS = st.dictionaries(
    st.sampled_from(VALUES),
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


def messages(descriptor: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Generate what json_format.ParseDict takes for a message."""
    fields = {}
    for field in descriptor.fields:
        if field.containing_oneof is not None and not field.has_presence:
            continue
        if field.message_type is Timestamp.DESCRIPTOR:
            one: st.SearchStrategy[Any] = st.datetimes().map(lambda time: f"{time.isoformat()}Z")
        elif field.message_type is Struct.DESCRIPTOR:
            one = JSON_OBJECTS
        elif field.message_type is FieldMask.DESCRIPTOR:
            one = st.lists(st.sampled_from(["attributes", "events", "orphaned", "nope"])).map(",".join)
        elif field.message_type is not None:
            one = messages(field.message_type)
        elif field.type == FieldDescriptor.TYPE_STRING:
            one = st.sampled_from(VALUES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        elif field.type == FieldDescriptor.TYPE_BOOL:
            one = st.booleans()
        elif field.type == FieldDescriptor.TYPE_DOUBLE:
            one = st.floats(allow_nan=False, allow_infinity=False)
        else:
            one = st.integers(-3, 5) | st.integers(-(2**31), 2**31 - 1)
        fields[field.name] = st.lists(one, max_size=4) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=fields).map(_one_arm(descriptor))


def _one_arm(descriptor: Any) -> Any:
    """Return what leaves one arm of each oneof in a dict."""

    def keep(generated: dict[str, Any]) -> dict[str, Any]:
        for oneof in descriptor.oneofs:
            arms = [field.name for field in oneof.fields if field.name in generated]
            for arm in arms[:-1]:
                del generated[arm]
        return generated

    return keep


CALLS = st.sampled_from(list(RPCS.values())).flatmap(
    lambda method: st.tuples(st.just(method), messages(method.request.DESCRIPTOR))
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(calls=st.lists(CALLS, min_size=1, max_size=20))
async def test_well_formed_messages_of_any_values_meet_no_bug(server: Server, wire: Wire, calls: list[Any]) -> None:
    await harmless(wire, [(method.name, wire.encoded(method.name, body)) for method, body in calls])
