"""A second server on the same file, while the first one is under load."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.history import End, History
from tests.faults.load import Client, load, share
from tests.faults.server import Server


@pytest.mark.timeout(300)
async def test_a_second_server_on_the_file_is_refused_and_does_not_disturb_the_first(
    server: Server, history: History, random: Random, report: Report, long: bool, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "link.db"
    link.symlink_to(server.database)
    paths = [server.database, link]
    async with server, Client(server.address, history) as client:
        shared = await share(client, random)
        over = asyncio.Event()
        loading = asyncio.create_task(load(client, random, over, callers=32, shared=shared))
        for _ in range(5 if long else 1):
            for path in paths:
                second = await server.aka("serve", database=path)
                history.injected += 1
                assert second.returncode == 1, path
                assert second.stdout == ""
                (line,) = second.stderr.splitlines()
                assert "served by another aka process" in line
        over.set()
        await loading
        assert history.reasons() == {}
        assert history.ended(End.UNKNOWN) == 0
        await history.look(client.resolve)
        history.count(server.database)
        await server.check()
        server.assert_no_bug_logged()
    report("second server", history)
    history.assert_sound()
