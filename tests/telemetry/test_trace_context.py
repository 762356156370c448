"""W3C Trace Context: what is taken for a caller's trace, and what is not."""

import pytest

from aka.server.trace_context import TraceContext, trace_context_of
from tests.telemetry.recording import TRACE_ID, TRACEPARENT


def test_a_good_context_goes_on_as_it_came() -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "a=1,b=2", "authorization": "Bearer x"}
    found = trace_context_of(headers)
    assert found == TraceContext(TRACEPARENT, "a=1,b=2")
    assert found.headers == (("traceparent", TRACEPARENT), ("tracestate", "a=1,b=2"))
    assert found.trace_id == TRACE_ID


def test_a_newer_version_may_have_more_to_say() -> None:
    newer = f"01{TRACEPARENT[2:]}-what-comes-later"
    assert trace_context_of({"traceparent": newer}) == TraceContext(newer, "")


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        TRACEPARENT.upper(),
        f"{TRACEPARENT} ",
        f"{TRACEPARENT}-more",
        f"ff{TRACEPARENT[2:]}",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"01{TRACEPARENT[2:]}-{'x' * 500}",
        f"01{TRACEPARENT[2:]}-é",
    ],
)
def test_what_is_no_traceparent_is_none(parent: str) -> None:
    assert trace_context_of({"traceparent": parent}) is None


@pytest.mark.parametrize("state", ["x" * 513, "é=1", "a=1\n"])
def test_a_bad_tracestate_is_dropped_alone(state: str) -> None:
    assert trace_context_of({"traceparent": TRACEPARENT, "tracestate": state}) == TraceContext(TRACEPARENT, "")


def test_a_tracestate_alone_is_nothing() -> None:
    assert trace_context_of({"tracestate": "a=1"}) is None
