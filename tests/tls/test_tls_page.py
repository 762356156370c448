"""docs/tls.md: its commands are run and its answers compared."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import KEY, serving
from tests.docs.pages import BIN, blocks, run

PAGE: Final = "docs/tls.md"


def under(heading: str) -> list[str]:
    """Return the texts of the blocks under a heading."""
    found = [block.text for block in blocks(PAGE) if block.heading == heading]
    assert found, f"no heading {heading}"
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates that the page makes."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", "-eu", "-c", under("Certificates to try it with")[0]], cwd=folder, check=True)
    return folder


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Mapping[str, str]]:
    """Serve with TLS as the page says; yields the variables of its commands."""
    given = {"tls_cert": "server.pem", "tls_key": "server.key", "rest_address": "127.0.0.1:0"} | settings
    with serving("--database", "sqlite:///:memory:", cwd=folder, settings=given) as server:
        yield {
            "AKA": f"https://{server.address}/aka.v1.AliasService",
            "REST": f"https://{server.rest}",
            "AKA_KEY": KEY,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }


@pytest.mark.parametrize(
    ("heading", "settings"), [("Calls", {}), ("Calls with mutual TLS", {"tls_client_ca": "ca.pem"})]
)
def test_the_pages_calls_are_answered_as_it_shows(certificates: Path, heading: str, settings: dict[str, str]) -> None:
    commands = under(heading)[-4:]
    with served(certificates, **settings) as variables:
        for command, answer in zip(commands[::2], commands[1::2], strict=True):
            assert json.loads(run(command, variables, certificates)) == json.loads(answer)


def test_without_its_certificate_a_caller_is_not_answered_where_mutual_tls_asks_for_one(certificates: Path) -> None:
    command = under("Calls")[-2]
    with served(certificates, tls_client_ca="ca.pem") as variables:
        assert run(command, variables, certificates) == ""
