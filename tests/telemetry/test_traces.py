"""The spans of calls: whose they are, what is in them, and what is not."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.docs.pages import code, table
from tests.gateway.served import STUBS, gateway_over
from tests.grpc.test_grpc_errors import Raising
from tests.grpc.test_grpc_privacy import CALLS, HEADER, MARK
from tests.grpc.wire import KEY, Held
from tests.telemetry.recording import (
    PARENT_ID,
    TRACE_ID,
    TRACEPARENT,
    Recorded,
    Traced,
    attributes,
    id_of,
    linked,
    together,
    trace_of,
    traced,
)

NEW = {"user_id": "u", "alias_id": "a", "create_missing": True}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Traced]:
    async with traced(tmp_path / "aka.db") as running:
        await running.wire.profile_of("u")  # what only the first call does is done
        running.recorded.clear()
        yield running


async def test_a_call_is_a_span_of_the_server_by_the_conventions_for_rpc(served: Traced) -> None:
    await served.wire.send("Alias", NEW, (("x-request-id", "mine"),))
    span = served.recorded.one("Alias")
    assert (span.name, span.kind, span.parent) == ("aka.v1.AliasService/Alias", SpanKind.SERVER, None)
    assert attributes(span) == {
        "rpc.system.name": "grpc",
        "rpc.method": "aka.v1.AliasService/Alias",
        "rpc.response.status_code": "OK",
        "aka.request_id": "mine",
    }
    assert span.status.status_code == StatusCode.UNSET


async def test_a_call_belongs_to_its_callers_trace(served: Traced) -> None:
    await served.wire.send("Alias", NEW, (("traceparent", TRACEPARENT), ("tracestate", "vendor=1")))
    span = served.recorded.one("Alias")
    assert span.parent is not None and span.context is not None
    assert (trace_of(span), f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert span.context.trace_state.to_header() == "vendor=1"


async def test_a_call_whose_caller_does_not_sample_is_not_traced(served: Traced) -> None:
    await served.wire.send("Alias", NEW, (("traceparent", f"{TRACEPARENT[:-2]}00"),))
    assert served.recorded.all == []


@pytest.mark.parametrize("value", ["", "rubbish", f"ff{TRACEPARENT[2:]}", TRACEPARENT.upper(), f"{TRACEPARENT}x"])
async def test_a_traceparent_that_is_none_is_as_if_it_was_not_sent(served: Traced, value: str) -> None:
    await served.wire.send("Alias", NEW, (("traceparent", value),))
    assert served.recorded.one("Alias").parent is None


async def test_below_a_change_are_its_waiting_and_its_group_and_below_that_what_the_store_did(served: Traced) -> None:
    await served.wire("Alias", NEW)
    call = served.recorded.one("Alias")
    below = served.recorded.children(call)
    assert below.keys() == {"wait", "group"}
    phases = served.recorded.children(below["group"])
    assert list(phases) == ["load", "decide", "write", "commit"]


async def test_the_document_tells_every_span(served: Traced) -> None:
    await served.wire("Alias", NEW)
    told = {code(name)[0] for name, _, _ in table("docs/observability.md", "## Traces")}
    assert told == {span.name for span in served.recorded.all}


async def test_every_span_lies_within_its_parent(served: Traced) -> None:
    await served.wire("Alias", NEW)
    call = served.recorded.one("Alias")
    group = served.recorded.children(call)["group"]
    ends = [times for span in served.recorded.children(group).values() for times in (span.start_time, span.end_time)]
    assert None not in ends
    assert ends == sorted(ends)  # type: ignore[type-var]
    slack = 1_000_000  # nanoseconds: two clocks are compared
    for inner, outer in ((served.recorded.children(call)["wait"], call), (group, call)):
        assert outer.start_time is not None and inner.start_time is not None and outer.end_time is not None
        assert outer.start_time - slack <= inner.start_time
        assert inner.start_time <= outer.end_time + slack


async def test_a_group_is_linked_to_the_calls_that_it_was_made_of(served: Traced) -> None:
    await together(served.wire, 60)
    calls = {id_of(span) for span in served.recorded.named("Alias")}
    groups = served.recorded.named("group")
    assert len(calls) == 60
    assert sum(len(linked(group)) for group in groups) == 60
    assert set().union(*(linked(group) for group in groups)) == calls
    assert max(attributes(group)["aka.group.calls"] for group in groups) > 1


async def test_a_group_is_below_one_of_its_calls_and_the_others_are_linked_to_it(served: Traced) -> None:
    await together(served.wire, 60)
    for group in served.recorded.named("group"):
        assert group.parent is not None
        others = {id_of(call) for call in served.recorded.named("Alias") if id_of(group) in linked(call)}
        assert others == linked(group) - {group.parent.span_id}


async def test_a_small_read_has_one_span_below_it(served: Traced) -> None:
    await served.wire("Resolve", {"identifiers": [{"id": "u"}]})
    assert list(served.recorded.children(served.recorded.one("Resolve"))) == ["load"]


async def test_a_large_read_waits_for_a_group_too(served: Traced) -> None:
    await served.wire("Resolve", {"identifiers": [{"id": f"u{n}"} for n in range(50)]})
    below = served.recorded.children(served.recorded.one("Resolve"))
    assert below.keys() == {"wait", "group"}
    assert list(served.recorded.children(below["group"])) == ["load"]


async def test_a_refusal_is_no_fault_of_the_servers(served: Traced) -> None:
    await served.wire.refused("Alias", {"user_id": "nobody", "alias_id": "a"})
    span = served.recorded.one("Alias")
    assert (attributes(span)["rpc.response.status_code"], attributes(span)["aka.reason"]) == (
        "NOT_FOUND",
        "USER_NOT_FOUND",
    )
    assert span.status.status_code == StatusCode.UNSET


async def test_a_bug_is_one_and_its_message_is_not_told(tmp_path: Path) -> None:
    async with traced(tmp_path / "aka.db", servicer=lambda *_: Raising(ValueError(MARK))) as served:
        await served.wire.refused("Alias", NEW)
        span = served.recorded.one("Alias")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert attributes(span)["error.type"] == "INTERNAL"
    assert MARK not in span.to_json()


async def test_a_call_whose_caller_hung_up_ends_as_cancelled(tmp_path: Path) -> None:
    held = Held()
    async with traced(tmp_path / "aka.db", servicer=held.servicer) as served:
        running = served.wire.start("Alias", NEW)
        await held.entered.wait()
        running.cancel()
        await held.left.wait()
        assert attributes(served.recorded.one("Alias"))["rpc.response.status_code"] == "CANCELLED"


@pytest.mark.parametrize("stub", STUBS)
async def test_the_gateway_hands_its_callers_trace_on(stub: str, tmp_path: Path) -> None:
    recorded = Recorded()
    async with gateway_over(stub, tmp_path / "aka.db", spans=recorded.spans) as gateway:
        sent = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
        await gateway.with_headers(**sent).post("/alias", {"distinct_id": "u", "alias_id": "a"})
    span = recorded.one("Alias")
    assert span.context is not None
    assert (trace_of(span), span.context.trace_state.to_header()) == (TRACE_ID, "vendor=1")


@pytest.mark.parametrize("stub", STUBS)
async def test_a_trace_context_that_metadata_cannot_carry_stops_at_the_gateway(stub: str, tmp_path: Path) -> None:
    recorded = Recorded()
    async with gateway_over(stub, tmp_path / "aka.db", spans=recorded.spans) as gateway:
        sent: dict[str, Any] = {"traceparent": TRACEPARENT, "tracestate": "é=1".encode("latin-1")}
        answer = await gateway.with_headers(**sent).post("/alias", {"distinct_id": "u", "alias_id": "a"})
    assert answer.status_code == 200
    assert trace_of(recorded.one("Alias")) == TRACE_ID


async def test_no_span_bears_a_value_of_a_call_or_a_key(served: Traced) -> None:
    for method, body in CALLS:
        await served.wire.attempt(method, body, (("x-request-id", f"{HEADER} {HEADER}"), ("x-other", HEADER)))
    shown = "\n".join(span.to_json() for span in served.recorded.all)
    assert served.recorded.named("commit")
    assert MARK not in shown
    assert KEY not in shown
