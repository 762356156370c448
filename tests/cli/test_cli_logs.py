"""What `aka serve` logs: to stderr, as JSON lines or as text, and no value of a call."""

import json
from pathlib import Path
from typing import Any

from tests.cli.command import KEY, serving
from tests.cli.conftest import PRIVATE, Run, use


def entries(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.ended.errors]


def test_without_a_terminal_the_log_is_json_an_object_a_line_with_event_level_and_time(served: Run) -> None:
    said = entries(served)
    assert [entry["event"] for entry in said] == ["serving", "call", "call", "call", "call", "stopping", "stopped"]
    assert all({"event", "level", "timestamp"} <= entry.keys() for entry in said)


def test_the_log_says_where_it_serves(served: Run) -> None:
    assert entries(served)[0]["grpc"] == served.address


def test_text_is_no_json(served_on_its_own: Run) -> None:
    said = served_on_its_own.ended.errors
    assert not any(line.startswith("{") for line in said)
    assert any("serving" in line and served_on_its_own.address in line for line in said)


def test_json_at_the_lowest_level_bears_no_value_of_a_call(served: Run) -> None:
    assert PRIVATE not in served.ended.err


def test_text_at_the_lowest_level_bears_no_value_of_a_call(served_on_its_own: Run) -> None:
    assert PRIVATE not in served_on_its_own.ended.err


def test_from_warning_up_nothing_is_logged_of_calls_that_went_as_they_should(used: Path) -> None:
    with serving("--log-level", "warning", cwd=used) as server:
        use(server, KEY)
        assert server.stop().err == ""
