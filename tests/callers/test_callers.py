"""Callers that nobody here wrote: each calls every RPC of a served aka, and reads what goes wrong."""

from pathlib import Path

import pytest
from grpc import StatusCode

from aka.server.methods import METHODS
from tests.callers.registries import install
from tests.callers.story import ANSWERS, CALLS, Refusal, Report, shown


def test_the_story_has_every_rpc() -> None:
    assert sorted(CALLS) == sorted(ANSWERS) == sorted(METHODS)


def test_every_rpc_is_answered(report: Report) -> None:
    expected = {name for name, method in METHODS.items() if method.is_unary or not report.over_rest}
    assert shown(report.answers) == {name: answer for name, answer in ANSWERS.items() if name in expected}


def test_an_errors_reason_and_values_can_be_read(report: Report) -> None:
    assert report.refusal == Refusal(StatusCode.NOT_FOUND, "USER_NOT_FOUND", "aka", {"user_id": "nobody"})


def test_a_deadline_ends_a_call(report: Report) -> None:
    assert report.late.code == StatusCode.DEADLINE_EXCEEDED


def test_a_store_that_cannot_be_used_is_unavailable(report: Report) -> None:
    code, reason, domain, metadata = report.unavailable
    assert (code, reason, domain, dict(metadata or {})) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "aka", {})


def test_a_registry_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    nowhere = ["npm", "ping", "--registry=http://127.0.0.1:1", "--fetch-retries=0", f"--cache={tmp_path}"]
    with pytest.raises(pytest.skip.Exception, match="npm cannot reach its registry: ECONNREFUSED"):
        install("npm", nowhere, tmp_path)
