"""The spans of calls, and of the groups that the store does them in. Only where the extra `telemetry` is installed."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Token
from importlib.metadata import version
from threading import Thread
from typing import Final, NamedTuple

from google.rpc import code_pb2
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aka.server.metrics import Phase
from aka.server.trace_context import TraceContext

HAND_OVER: Final = 5.0
"""Seconds that the last spans have to reach their collector when the server stops."""

_CALLERS: Final = TraceContextTextMapPropagator()
_FAULTS: Final = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)
"""Statuses that are a server's fault (OpenTelemetry's semantic conventions for gRPC)."""


class CallSpan(NamedTuple):
    """A call's span; while it is there, what the call's task does belongs to it."""

    span: trace.Span
    token: Token[context.Context]

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits."""
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    def end(self, code: int, reason: str | None) -> None:
        """End it with the call's status and the reason of a refusal."""
        name = code_pb2.Code.Name(code)
        self.span.set_attribute("rpc.response.status_code", name)
        if reason is not None:
            self.span.set_attribute("aka.reason", reason)
        if code in _FAULTS:
            self.span.set_attribute("error.type", name)
            self.span.set_status(trace.StatusCode.ERROR)
        self.span.end()
        context.detach(self.token)


class WaitSpan(NamedTuple):
    """A call that waits for a group, and the span of its waiting."""

    call: trace.Span
    span: trace.Span


class Spans:
    """Makes spans. None of them bears an identifier, a key or a message."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("aka", version("aka"))

    def call(self, service: str, method: str, request_id: str, caller: TraceContext | None) -> CallSpan:
        """Begin a call's span, in its caller's trace where it has one."""
        parent = context.Context() if caller is None else _CALLERS.extract(dict(caller.headers), context.Context())
        name = f"{service}/{method}"
        span = self._tracer.start_span(
            name,
            parent,
            trace.SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": name, "aka.request_id": request_id},
        )
        return CallSpan(span, context.attach(trace.set_span_in_context(span)))

    def wait(self) -> WaitSpan | None:
        """Begin the span of the current call's waiting; None where the call is not recorded."""
        call = trace.get_current_span()
        return WaitSpan(call, self._tracer.start_span("wait")) if call.is_recording() else None

    def end(self, waits: Iterable[WaitSpan | None]) -> None:
        """End the waiting of calls whose turn has come, or who are dropped."""
        for wait in waits:
            if wait is not None:
                wait.span.end()

    @contextmanager
    def group(self, waits: Iterable[WaitSpan | None]) -> Iterator[None]:
        """Let what is done in the block be the span of a group of calls.

        It is a child of the first call's, and linked to those of all.
        """
        calls: Sequence[trace.Span] = [wait.call for wait in waits if wait is not None]
        if not calls:
            yield
            return
        span = self._tracer.start_span(
            "group",
            trace.set_span_in_context(calls[0]),
            attributes={"aka.group.calls": len(calls)},
            links=[trace.Link(call.get_span_context()) for call in calls],
        )
        for call in calls[1:]:
            call.add_link(span.get_span_context())
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield
        finally:
            context.detach(token)
            span.end()

    def phases(self, phases: Iterable[Phase]) -> None:
        """Make the spans of what was done for the current call or group."""
        if not trace.get_current_span().is_recording():
            return
        ahead = time.time_ns() - time.perf_counter_ns()
        for phase in phases:
            span = self._tracer.start_span(phase.name, start_time=ahead + round(phase.began * 1e9))
            span.end(ahead + round(phase.ended * 1e9))

    async def close(self) -> None:
        """Hand over what was not handed over yet, within `HAND_OVER`."""
        handing = Thread(target=self._provider.shutdown, daemon=True)  # a collector that hangs holds up no stop
        handing.start()
        await asyncio.to_thread(handing.join, HAND_OVER)
