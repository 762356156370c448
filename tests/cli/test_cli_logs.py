"""What `aka serve` logs: to stderr, as JSON lines or as text, and no value of a call."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import KEY, identify, serving

PRIVATE = "jane.doe@example.com"


def logged(folder: Path, *arguments: str) -> str:
    """Serve a few calls and return what was logged."""
    with serving(*arguments, cwd=folder) as server:
        server.call("Identify", identify(PRIVATE))
        with pytest.raises(Exception, match="NOT_FOUND"):
            server.call("Alias", {"user_id": f"no-{PRIVATE}", "alias_id": "a"})
        with pytest.raises(Exception, match="UNAUTHENTICATED"):
            server.call("Resolve", {}, f"no-{KEY}")
        return server.stop().err


def entries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line_with_event_level_and_time(tmp_path: Path) -> None:
    said = entries(logged(tmp_path, "--log-format", "json"))
    assert [entry["event"] for entry in said] == ["serving", "stopping", "stopped"]
    assert all({"event", "level", "timestamp"} <= entry.keys() for entry in said)


def test_without_a_terminal_json_is_the_default(tmp_path: Path) -> None:
    assert entries(logged(tmp_path))


def test_text_is_no_json(tmp_path: Path) -> None:
    said = logged(tmp_path, "--log-format", "text").splitlines()
    assert not any(line.startswith("{") for line in said)
    assert any("serving" in line for line in said)


def test_the_log_says_where_it_serves(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        (entry, *_) = entries(server.stop().err)
    assert entry["grpc"] == server.address


@pytest.mark.parametrize("level", ["warning", "error"])
def test_from_warning_up_nothing_is_logged_of_calls_that_went_as_they_should(tmp_path: Path, level: str) -> None:
    assert logged(tmp_path, "--log-level", level) == ""


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_lowest_level_bears_no_value_and_no_key(tmp_path: Path, form: str) -> None:
    said = logged(tmp_path, "--log-level", "debug", "--log-format", form)
    assert not [private for private in (PRIVATE, KEY) if private in said]
