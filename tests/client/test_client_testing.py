"""aka.client.testing, as somebody else's tests use it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from aka.client.testing import running_server

CONFTEST: Final = 'pytest_plugins = ["aka.client.testing"]'

TESTS: Final = """
import asyncio
import pytest
from aka.client import Outcome, RateLimited

@pytest.mark.parametrize("run", [1, 2])
def test_each_test_has_an_empty_aka(run, aka_server):
    with aka_server.client(timeout=30) as client:
        assert client.identify("user_123").outcome == Outcome.CREATED

def test_asyncio_has_a_client_too(aka_server):
    async def resolve():
        async with aka_server.async_client() as client:
            return await client.resolve("user_123")
    assert not asyncio.run(resolve()).found

def test_the_key_is_not_shown(aka_server):
    assert aka_server.api_key not in repr(aka_server)
"""


def test_tests_get_a_real_aka_that_is_empty_each_time(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "4 passed" in ran.stdout


WITHOUT_PYTEST: Final = """
import sys
sys.modules["pytest"] = None
from aka.client.testing import running_server
with running_server() as server, server.client() as client:
    print(client.identify("u").outcome)
"""


def test_other_test_runners_run_a_server_too() -> None:
    command = [sys.executable, "-c", WITHOUT_PYTEST]
    env = {**os.environ, "AKA_TLS_CERT": "nowhere.pem"}  # what is set for another server is not for this one
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "CREATED\n"


@pytest.mark.parametrize(
    ("module", "text", "told"),
    [
        (
            "click",
            "raise ModuleNotFoundError('No module named click')",
            r"aka's server is not installed \(ModuleNotFoundError: No module named click\): pip install .aka\[server\]",
        ),
        ("uvloop", "raise SystemExit('no loop today')", "aka does not serve:\nno loop today"),
    ],
)
def test_an_aka_that_does_not_serve_says_why(
    module: str, text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=told), running_server():
        raise AssertionError("it serves")
