"""The two clients are one: what the one has, the other has."""

import inspect
import subprocess
import sys
from typing import Any

import pytest

from aka.client import AsyncClient, Client
from tests.docs.pages import ROOT

METHODS = sorted(name for name in vars(AsyncClient) if not name.startswith("_") and name != "aclose")


def test_both_have_the_same_methods() -> None:
    assert sorted(name for name in vars(Client) if not name.startswith("_") and name != "close") == METHODS


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_and_returns_the_same_in_both(name: str) -> None:
    asynchronous, threaded = (inspect.signature(getattr(kind, name)) for kind in (AsyncClient, Client))
    assert [*asynchronous.parameters] == [*threaded.parameters]
    if name not in ("resolve_many", "import_links", "export_links"):  # which take or give what is asynchronous
        assert asynchronous == threaded
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name))
        assert not inspect.iscoroutinefunction(getattr(Client, name))


def test_every_parameter_and_result_has_a_type() -> None:
    for kind in (AsyncClient, Client):
        for name in ("__init__", *METHODS):
            signature = inspect.signature(getattr(kind, name))
            untyped = [one for one in signature.parameters.values() if one.annotation is one.empty]
            assert [one.name for one in untyped] == ["self"]
            assert Any not in {one.annotation for one in signature.parameters.values()}


def test_no_word_of_asyncio_is_left_in_the_client_for_threads() -> None:
    generated = subprocess.run(
        [sys.executable, ROOT / "scripts/sync-client"], capture_output=True, text=True, check=True
    )
    _, _, code = generated.stdout.partition("\n")
    assert "class Client:" in code
    assert "sync" not in code
    assert "await" not in code
