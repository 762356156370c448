"""The gateway is a shim over a stub: it knows the contract, and nothing of what is behind it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aka.server.gateway

PACKAGE = "aka.server.gateway"
FILES = sorted(Path(aka.server.gateway.__file__).parent.glob("*.py"))

MAY_BE_IMPORTED = (
    PACKAGE,
    "aka.admin.v1",
    "aka.server.logs",
    "aka.server.metrics",
    "aka.server.request_ids",
    "aka.server.trace_context",
    "aka.v1",
)
"""Of aka."""


def imported(file: Path) -> set[str]:
    """The modules of aka that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("aka")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_gateway_imports_of_aka_only_the_contract_and_what_every_way_in_needs(file: Path) -> None:
    assert {name for name in imported(file) if not name.startswith(MAY_BE_IMPORTED)} == set()


def test_loading_the_gateway_loads_no_store_no_service_and_no_domain() -> None:
    script = f"import sys, {PACKAGE}.app; print(*(name for name in sys.modules if name.startswith('aka.server')))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if not name.startswith(PACKAGE)} == {
        "aka.server",
        "aka.server.logs",
        "aka.server.metrics",
        "aka.server.request_ids",
        "aka.server.trace_context",
    }
