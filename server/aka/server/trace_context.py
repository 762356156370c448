"""The trace that a caller says its call belongs to: the headers of W3C Trace Context, checked before they go on."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
_LENGTH_OF_VERSION_0: Final = 55
_LONGEST: Final = 512


class TraceContext(NamedTuple):
    """What a caller sent."""

    traceparent: str
    tracestate: str
    """Empty where there was none."""

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits."""
        return self.traceparent[3:35]

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What to send on, as HTTP headers or as metadata."""
        state = (("tracestate", self.tracestate),) if self.tracestate else ()
        return ("traceparent", self.traceparent), *state


def trace_context_of(headers: Mapping[str, str]) -> TraceContext | None:
    """Return the context in some headers or metadata; None where there is none, or none that is good.

    A bad tracestate is dropped alone (W3C Trace Context, section 3.3).
    """
    parent = headers.get("traceparent")
    if parent is None or len(parent) > _LONGEST or not _TRACEPARENT.fullmatch(parent):
        return None
    if parent.startswith("00-") and len(parent) > _LENGTH_OF_VERSION_0:
        return None
    state = headers.get("tracestate", "")
    good = len(state) <= _LONGEST and state.isascii() and state.isprintable()
    return TraceContext(parent, state if good else "")
