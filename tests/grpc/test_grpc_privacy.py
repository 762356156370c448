"""What a server logs bears no identifier, no key, no header and no body."""

import asyncio
import gc
import io
import json
import logging
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from aka.server import logs
from tests.grpc.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, call, frame, message, peer_of
from tests.grpc.test_grpc_errors import Raising
from tests.grpc.wire import KEY, Server, Wire, serving, wire_to

MARK = "jane.doe"
"""Part of every value that these calls send."""

USER, ALIAS, ANONYMOUS, NAME, LABEL, NOBODY = (f"{MARK}+{what}@example.com" for what in ("u", "a", "x", "n", "l", "z"))

HEADER = f"{MARK}-header"

PAIR = {"alias_label": LABEL, "alias_name": NAME}

CALLS: list[tuple[str, Any]] = [
    ("Identify", {"aliases_to_identify": [{"external_id": USER}, {"external_id": USER, "anonymous_id": ANONYMOUS}]}),
    ("Alias", {"user_id": USER, "alias_id": ALIAS, "request_id": str(uuid.uuid4())}),
    ("Alias", {"user_id": NOBODY, "alias_id": ALIAS}),
    ("Alias", {"user_id": USER, "alias_id": f"{MARK}\x00"}),
    ("Alias", {"user_id": USER, "alias_id": MARK * 100}),
    ("Alias", {"primary_user_id": MARK, "alias_id": ALIAS}),
    ("BatchAlias", {"requests": [{"user_id": NOBODY, "alias_id": ALIAS}, {"user_id": USER, "alias_id": NOBODY}]}),
    ("CreateAliases", {"user_aliases": [PAIR, PAIR | {"external_id": USER}, PAIR | {"external_id": NOBODY}]}),
    ("Resolve", {"identifiers": [{"id": USER}, {"user_alias": PAIR}, {"id": NOBODY}]}),
    ("GetProfile", {"identifier": {"id": USER}, "page_size": 1}),
    ("GetProfile", {"identifier": {"id": NOBODY}}),
    ("GetProfile", {"identifier": {"id": USER}, "page_token": MARK}),
    ("Track", {"events": [{"external_id": USER, "name": MARK, "properties": {MARK: MARK}}]}),
    ("Track", {"attributes": [{"external_id": NOBODY, "attributes": {MARK: MARK}, "set_once": {f"{MARK}\n": 1}}]}),
    ("Track", {"attributes": [{"external_id": NOBODY, "attributes": {MARK: MARK * 2000}}, {"external_id": MARK * 90}]}),
    ("Track", {"purchases": [{"external_id": USER, "product_id": MARK, "currency": MARK, "price": 1}]}),
    ("ExportProfiles", {"profiles": [{"id": USER}, {"id": NOBODY}]}),
    ("ExportProfiles", {"profiles": [{"id": USER}], "page_token": MARK}),
    ("DeleteAlias", {"id": ALIAS}),
    ("DeleteAlias", {"user_alias": PAIR}),
    ("Alias", MARK.encode()),
    ("Alias", b"\x0a\x0a\xff" + MARK.encode()),
]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that goes to stderr at the lowest level, aka's own words and those of the libraries below it."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers = root.handlers[:]
    with io.StringIO() as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        logs.set_up("debug", "json")
        yield stderr
        structlog.configure(**before)
        root.handlers = handlers


@pytest.fixture
async def server(logged: io.StringIO, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "aka.db", rate_limit="1000000/minute", reflection="key") as running:
        yield running


async def say_all(wire: Wire) -> None:
    metadata = (("x-request-id", f"{HEADER} {HEADER}"), ("x-other", HEADER), ("x-other-bin", HEADER.encode()))
    for method, body in CALLS:
        await wire.attempt(method, body, metadata)


async def test_calls_and_refusals_leave_no_value_in_the_log(logged: io.StringIO, wire: Wire) -> None:
    await say_all(wire)
    assert MARK not in logged.getvalue()


async def test_keys_good_and_bad_leave_no_trace_in_the_log(logged: io.StringIO, server: Server, wire: Wire) -> None:
    secrets = [KEY, server.add_key("profiles.read"), server.add_key(revoked_at=1), f"{MARK}-is-no-key"]
    for secret in secrets:
        await wire.with_key(secret).attempt("Resolve", {"identifiers": [{"id": "u"}]})
    assert not [secret for secret in secrets if secret in logged.getvalue()]


async def test_headers_that_cannot_be_read_leave_no_trace_in_the_log(logged: io.StringIO, server: Server) -> None:
    raw = b"\xff" + HEADER.encode() + b"\xfe"
    async with peer_of(server.address) as peer:
        await peer.send(
            PREFACE,
            frame(SETTINGS, 0, 0),
            frame(HEADERS, END_HEADERS, 1, call("Resolve", ("authorization", b"Bearer " + raw), ("x-other", raw))),
            frame(DATA, END_STREAM, 1, message(b"")),
        )
        await peer.frames()
    assert "grpc._cython.cygrpc" in logged.getvalue()  # it says that a header is no UTF-8, with the header
    assert HEADER not in logged.getvalue()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_task_that_nobody_waits_for_leaves_no_value_in_the_log(logged: io.StringIO) -> None:
    async def fail() -> None:
        raise ValueError(USER)

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    assert json.loads(logged.getvalue().splitlines()[-1]).items() >= {"event": "asyncio", "error": "ValueError"}.items()
    assert MARK not in logged.getvalue()


async def test_bugs_leave_no_value_in_the_log(logged: io.StringIO, tmp_path: Path) -> None:
    bug = ValueError(f"{USER} was too much")
    async with serving(tmp_path / "other.db", servicer=lambda *_: Raising(bug)) as server, wire_to(server) as wire:
        await say_all(wire)
    assert "internal error" in logged.getvalue()
    assert MARK not in logged.getvalue()


async def test_a_store_that_fails_leaves_no_value_in_the_log(logged: io.StringIO, server: Server, wire: Wire) -> None:
    lock = server.connect()
    lock.execute("BEGIN IMMEDIATE")
    try:
        await wire.attempt("Alias", {"user_id": USER, "alias_id": ALIAS, "create_missing": True})
    finally:
        lock.close()
    assert MARK not in logged.getvalue()


async def test_a_caller_who_leaves_leaves_no_value_in_the_log(logged: io.StringIO, wire: Wire) -> None:
    calls = [wire.start("Alias", {"user_id": USER, "alias_id": ALIAS, "create_missing": True}) for _ in range(50)]
    for running in calls[::2]:
        running.cancel()
    for running in calls:
        await running.code()
    assert MARK not in logged.getvalue()
