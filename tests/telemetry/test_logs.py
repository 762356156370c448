"""What is logged of calls: nothing where all is well, each at the lowest level, and slow ones always."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from aka.server import logs, watch
from tests.docs.pages import blocks
from tests.gateway.served import STUBS, gateway_over
from tests.grpc.test_grpc_errors import Raising
from tests.grpc.wire import serving, wire_to
from tests.telemetry.recording import TRACE_ID, TRACEPARENT, trace_of, traced

NEW = {"user_id": "u", "alias_id": "a", "create_missing": True}
SENT = (("x-request-id", "mine"), ("traceparent", TRACEPARENT))


class Logged:
    """Lines of JSON."""

    def __init__(self, text: StringIO) -> None:
        self._text = text

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._text.getvalue().splitlines()]


@contextmanager
def logging_from(level: str) -> Iterator[Logged]:
    """Log to memory while the block runs, and as before after it."""
    before = structlog.get_config()
    with StringIO() as text:
        with redirect_stderr(text):
            logs.set_up(level, "json")
        try:
            yield Logged(text)
        finally:
            structlog.configure(**before)


async def test_at_the_lowest_level_a_call_is_a_line(tmp_path: Path) -> None:
    with logging_from("debug") as logged:
        async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
            await wire.send("Alias", NEW, SENT)
            [key_id] = server.rows("SELECT lower(hex(id)) FROM api_keys")[0]
        (line,) = logged.lines
    assert line["api_key"].replace("-", "") == key_id
    assert 0 < line["seconds"] < 60
    expected = {"event": "call", "level": "debug", "service": "aka.v1.AliasService", "method": "Alias", "code": "OK"}
    assert line.items() >= (expected | {"request_id": "mine", "trace_id": TRACE_ID}).items()
    assert line.keys() == expected.keys() | {"request_id", "trace_id", "seconds", "api_key", "timestamp"}


async def test_a_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    with logging_from("debug") as logged:
        async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
            await wire.with_key(None).refused("Alias", NEW)
        (line,) = logged.lines
    assert (line["code"], line["reason"]) == ("UNAUTHENTICATED", "KEY_MISSING")
    assert "api_key" not in line


async def test_a_line_has_the_fields_that_the_document_shows(tmp_path: Path) -> None:
    with logging_from("debug") as logged:
        async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
            await wire.attempt("Alias", {"user_id": "nobody", "alias_id": "a"}, SENT)
        (line,) = logged.lines
    (shown,) = (json.loads(block.text) for block in blocks("docs/observability.md") if block.heading == "Logs")
    assert list(line) == list(shown)


async def test_above_the_lowest_level_calls_that_are_quick_are_not_logged(tmp_path: Path) -> None:
    with logging_from("info") as logged:
        async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
            await wire("Alias", NEW)
            await wire.with_key(None).refused("Alias", NEW)
        assert logged.lines == []


async def test_a_slow_call_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SLOW", 0.0)
    with logging_from("warning") as logged:
        async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
            await wire.send("Alias", NEW, SENT)
        (line,) = logged.lines
    assert (line["event"], line["level"], line["request_id"]) == ("slow call", "warning", "mine")


@pytest.mark.parametrize("stub", STUBS)
async def test_a_bug_is_an_error_with_the_request_id_and_the_trace(stub: str, tmp_path: Path) -> None:
    with logging_from("error") as logged:
        async with gateway_over(stub, tmp_path / "aka.db") as gateway:
            gateway.trouble.next = ValueError("u")
            sent = {name.replace("-", "_"): value for name, value in SENT}
            await gateway.with_headers(**sent).post("/alias", {"distinct_id": "u", "alias_id": "a"})
        (line,) = logged.lines
    assert line.items() >= {"event": "internal error", "request_id": "mine", "trace_id": TRACE_ID}.items()


async def test_a_line_about_a_traced_call_has_its_trace_though_the_caller_sent_none(tmp_path: Path) -> None:
    with logging_from("error") as logged:
        async with traced(tmp_path / "aka.db", servicer=lambda *_: Raising(ValueError())) as served:
            await served.wire.refused("Alias", NEW)
            trace_id = trace_of(served.recorded.one("Alias"))
        (line,) = logged.lines
    assert line["trace_id"] == trace_id
