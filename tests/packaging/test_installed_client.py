"""The wheel alone, as `pip install aka` brings it: the client, with the lowest and the newest of what it stands on."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import Final, get_args

import pytest

from aka.client.testing import AkaServer, running_server
from tests.callers.registries import install_npm
from tests.docs.pages import ROOT
from tests.packaging.installations import Installation, Versions, install, lowest_versions

HERE: Final = ROOT / "tests/packaging"

TOOLS: Final = ("pytest", "pytest-asyncio", "pytest-timeout", "types-grpcio", "types-protobuf")

MISUSES: Final = (
    "client.resolve(5)",
    'client.resolve("user_123").nothing',
    'client.alias("user_123", "a", merge_policy="ALWAYS")',
    'v1.AliasRequest(nobody="user_123")',
    "v1.ResolveResponse().resolutions[0].found.nothing",
)

MISUSER: Final = """from aka.client import Client
from aka.v1 import alias_service_pb2 as v1

client = Client("127.0.0.1:50051", api_key="key")
"""


@pytest.fixture(scope="module", params=get_args(Versions))
def versions(request: pytest.FixtureRequest) -> Versions:
    """Which versions it stands on."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def installed(versions: Versions, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel without extras, beside what tests need."""
    return install(tmp_path_factory.mktemp(versions), wheel, (), versions, TOOLS)


@pytest.fixture(scope="module")
def served() -> Iterator[AkaServer]:
    """A server, which runs in the environment of these tests."""
    with running_server() as server:
        yield server


def test_it_stands_on_the_lowest_versions_that_are_declared_or_on_newer_ones(
    installed: Installation, versions: Versions, wheel: Path
) -> None:
    lowest, there = lowest_versions(wheel, ()), installed.versions()
    assert (
        {name: there[name] for name in lowest} == lowest if versions == "lowest" else there["grpcio"] > lowest["grpcio"]
    )


def test_nothing_of_the_server_is_there(installed: Installation, wheel: Path) -> None:
    extras = {*lowest_versions(wheel, ("server", "postgres", "cli", "telemetry"))} - {*lowest_versions(wheel, ())}
    assert len(extras) > 10
    assert not extras & {*installed.versions()}


def test_the_clients_tests_pass(installed: Installation, served: AkaServer) -> None:
    options = ["-q", "--noconftest", "-p", "tests.packaging.remote"]
    variables = {"AKA_SERVER": served.address, "AKA_API_KEY": served.api_key}
    ran = installed.run("-m", "pytest", *options, "tests/client/test_client_calls.py", **variables)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_client_is_the_wheels(installed: Installation) -> None:
    ran = installed.run("-c", "import aka.client; print(aka.client.__file__)")
    assert Path(ran.stdout.strip()).is_relative_to(installed.python.parents[1])


@pytest.mark.parametrize(
    "program",
    [
        "from aka.client.testing import running_server as run; run().__enter__()",
        "from aka.server.command import main; main()",
    ],
)
def test_what_needs_the_server_says_what_to_install(program: str, installed: Installation) -> None:
    ran = installed.run("-c", program)
    assert ran.returncode == 1
    assert "pip install 'aka[server]'" in ran.stderr.splitlines()[-1]


def mypy(installed: Installation, folder: Path, file: str) -> str:
    """Check a file of a folder strictly against the wheel, and return what mypy says."""
    options = ["--strict", "--config-file=", f"--cache-dir={folder}", f"--python-executable={installed.python}"]
    return said(folder, sys.executable, "-m", "mypy", *options, file)


def pyright(installed: Installation, folder: Path, file: str) -> str:
    """Check a file of a folder strictly against the wheel, and return what pyright says."""
    install_npm(HERE)
    settings = {"typeCheckingMode": "strict", "include": [file]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    options = [f"--project={folder}", f"--pythonpath={installed.python}"]
    return said(folder, str(HERE / "node_modules/.bin/pyright"), *options)


def said(folder: Path, *command: str) -> str:
    """Run a checker in a folder and return what it prints."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300).stdout


CHECKERS: Final = {"mypy": (mypy, "Success: no issues found"), "pyright": (pyright, "0 errors, 0 warnings")}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_consumer_has_the_types(checker: str, installed: Installation, tmp_path: Path) -> None:
    copyfile(HERE / "consumer.py", tmp_path / "consumer.py")
    check, clean = CHECKERS[checker]
    assert check(installed, tmp_path, "consumer.py").startswith(clean)


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_consumer_who_is_wrong_is_told(checker: str, installed: Installation, tmp_path: Path) -> None:
    (tmp_path / "misuser.py").write_text(MISUSER + "\n".join(MISUSES) + "\n")
    check, _ = CHECKERS[checker]
    said = check(installed, tmp_path, "misuser.py")
    first = MISUSER.count("\n") + 1
    assert [line for line in range(first, first + len(MISUSES)) if f"misuser.py:{line}:" not in said] == [], said
