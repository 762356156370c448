"""A server whose spans are kept, and the spans taken apart."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aka.server.spans import Spans
from tests.grpc.wire import Server, Wire, serving, wire_to

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


class Recorded:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.spans = Spans(provider)

    @property
    def all(self) -> list[ReadableSpan]:
        """Every span, in the order of ending."""
        return list(self._kept.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.all if span.name.rpartition("/")[2] == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (span,) = self.named(name)
        return span

    def children(self, span: ReadableSpan) -> dict[str, ReadableSpan]:
        """The spans right below one, by name."""
        return {child.name: child for child in self.all if child.parent and child.parent.span_id == id_of(span)}

    def clear(self) -> None:
        """Forget them."""
        self._kept.clear()


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


def linked(span: ReadableSpan) -> set[int]:
    """The ids of the spans that one is linked to."""
    return {link.context.span_id for link in span.links}


@dataclass(frozen=True)
class Traced:
    """A server, a client and the spans."""

    server: Server
    wire: Wire
    recorded: Recorded


@asynccontextmanager
async def traced(database: Path, **settings: Any) -> AsyncIterator[Traced]:
    """Serve with traces."""
    recorded = Recorded()
    async with serving(database, spans=recorded.spans, **settings) as server, wire_to(server) as wire:
        yield Traced(server, wire, recorded)


async def together(wire: Wire, count: int) -> None:
    """Make calls that change something all at once."""
    bodies = [{"user_id": f"u{n}", "alias_id": f"a{n}", "create_missing": True} for n in range(count)]
    await asyncio.gather(*(wire("Alias", body) for body in bodies))
