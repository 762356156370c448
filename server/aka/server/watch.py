"""What is seen of calls from outside: each is counted, traced where that is asked for, and logged if it should be."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from time import perf_counter
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message
from google.rpc import code_pb2

from aka.server import logs
from aka.server.domain.identifiers import uuid_text
from aka.server.errors import AkaError
from aka.server.methods import Method
from aka.server.metrics import CallMetrics, Outcomes
from aka.server.store.store import ApiKey
from aka.server.trace_context import TraceContext
from aka.v1 import alias_service_pb2 as v1

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans

SLOW: Final = 1.0
"""Seconds from which on a call is logged whatever the level."""
CLOCKS_DIFFER: Final = 0.01
"""Seconds by which the timer that ends a call may be ahead of the deadline that it stands for."""


class Watch:
    """Watches the calls of some methods."""

    def __init__(self, methods: Collection[Method], spans: Spans | None) -> None:
        self.outcomes = {method: Outcomes() for method in methods}
        self.batches = {method: field for method in methods if (field := _refusals_field(method))}
        """Of methods whose answer is OK though a part is refused, the field that has the parts, each with a reason."""
        named = {(method.service, method.name): outcomes for method, outcomes in self.outcomes.items()}
        self.metrics = CallMetrics(named, refusals=defaultdict(int))
        """What came of the calls so far."""
        self.spans = spans
        self.tells_all = logs.tells_all()
        """Whether every call is logged, and not slow ones alone."""


class Watched:
    """A call, from its arrival to its end."""

    __slots__ = ("_began", "_deadline", "_method", "_request_id", "_span", "_trace", "_watch")

    def __init__(
        self, watch: Watch, method: Method, request_id: str, deadline: float | None, trace: TraceContext | None
    ) -> None:
        """`deadline` is on the event loop's clock, `trace` is the caller's."""
        self._watch = watch
        self._method = method
        self._request_id = request_id
        self._deadline = deadline
        self._trace = trace
        spans = watch.spans
        self._span = None if spans is None else spans.call(method.service, method.name, request_id, trace)
        self._began = perf_counter()

    def bug(self, error: Exception) -> None:
        """Log what should not have happened."""
        logs.bug(error, method=self._method.name, request_id=self._request_id, trace_id=self._trace_id)

    def end(self, result: Message | AkaError | None, key: ApiKey | None) -> None:
        """Count the call, end its span, and log it where it should be. None: nobody waits for its result any more."""
        seconds = perf_counter() - self._began
        watch, reason = self._watch, None
        if isinstance(result, AkaError):
            code, reason = result.status, result.name
            watch.metrics.refusals[result.reason] += 1
        elif result is None:
            code = self._why_cancelled()
        else:
            code = code_pb2.OK
            if self._method in watch.batches:
                for item in getattr(result, watch.batches[self._method]):
                    if item.reason:
                        watch.metrics.refusals[item.reason] += 1
        watch.outcomes[self._method].count(code, seconds)
        if self._span is not None:
            self._span.end(code, reason)
        slow = seconds >= SLOW and self._method.is_unary  # a stream takes the time that it takes
        if slow or watch.tells_all:
            logs.call(
                slow=slow,
                service=self._method.service,
                method=self._method.name,
                code=code_pb2.Code.Name(code),
                reason=reason,
                seconds=round(seconds, 6),
                api_key=None if key is None else uuid_text(key.id),
                request_id=self._request_id,
                trace_id=self._trace_id,
            )

    @property
    def _trace_id(self) -> str | None:
        if self._span is not None:
            return self._span.trace_id
        return None if self._trace is None else self._trace.trace_id

    def _why_cancelled(self) -> int:
        now = asyncio.get_running_loop().time()
        late = self._deadline is not None and self._deadline <= now + CLOCKS_DIFFER
        return int(code_pb2.DEADLINE_EXCEEDED if late else code_pb2.CANCELLED)


def _refusals_field(method: Method) -> str | None:
    for field in method.response.DESCRIPTOR.fields:
        if field.message_type in (v1.ItemResult.DESCRIPTOR, v1.RefusedLink.DESCRIPTOR, v1.RefusedItem.DESCRIPTOR):
            return str(field.name)
    return None
