"""Two akas for all callers: one to be called, one that somebody keeps from changing anything."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from aka.client.testing import AkaServer
from tests.callers.json_callers import JSON_CALLERS
from tests.callers.programs import PROGRAMS
from tests.callers.story import CALLS, CHANGE, UNKNOWN_USER, Report, Served, Site
from tests.cli.command import KEY, Serving, serving
from tests.privacy import SUITE

CALLERS = JSON_CALLERS | PROGRAMS


@pytest.fixture(scope="session")
def aka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """An aka that runs on."""
    with serving(cwd=tmp_path_factory.mktemp("aka"), settings={"rest_address": "127.0.0.1:0"}) as server:
        yield server


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """An aka of whose database another process holds the write lock."""
    folder = tmp_path_factory.mktemp("locked")
    with (
        serving(cwd=folder, settings={"rest_address": "127.0.0.1:0"}) as server,
        closing(sqlite3.connect(folder / "aka.db", isolation_level=None, timeout=60)) as holder,
    ):
        holder.execute("BEGIN IMMEDIATE")
        yield server


@pytest.fixture(scope="module", params=CALLERS)
def report(
    request: pytest.FixtureRequest, aka: Serving, locked: Serving, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """What a caller was answered in a workspace of its own."""
    workspace = AkaServer(aka.address, KEY).empty()
    site = Site(Served(aka.address, aka.rest, workspace.api_key), Served(locked.address, locked.rest, KEY))
    SUITE.send(CALLS, UNKNOWN_USER, CHANGE, workspace.api_key, KEY)
    return CALLERS[request.param](site, tmp_path_factory.mktemp("caller"))
