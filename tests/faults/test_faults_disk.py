"""A full disk: changes are refused, reads go on, and with room again everything does, without a restart."""

import asyncio
import shutil
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import Report
from tests.faults.disk import small_disk
from tests.faults.history import History
from tests.faults.load import Client, load, more, settle, share
from tests.faults.server import Server

SIZE = 64 << 20


@pytest.mark.timeout(300)
async def test_a_full_disk_refuses_changes_but_no_reads_and_loses_nothing(
    history: History, random: Random, report: Report, long: bool, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", SIZE) as disk:
        async with Server(tmp_path, database=disk.folder / "aka.db", inside=disk.inside) as server:
            async with Client(server.address, history) as client:
                shared = await share(client, random)
                over = asyncio.Event()
                loading = asyncio.create_task(load(client, random, over, callers=32, shared=shared))
                for _ in range(8 if long else 1):
                    refused = history.reasons()["STORE_UNAVAILABLE"]
                    disk.fill(leave=random.randrange(0, 256 << 10))
                    history.injected += 1
                    while history.reasons()["STORE_UNAVAILABLE"] < refused + 100:
                        await client.read()
                        await asyncio.sleep(0.02)
                    await server.check()  # all is sound while the disk is full, too
                    disk.empty()
                    await more(history.acknowledged, 200, loading)  # without a restart
                disk.fill(leave=0)
                history.injected += 1
                await more(lambda: history.reasons()["STORE_UNAVAILABLE"], 100, loading)
                over.set()
                await loading
                await history.look(client.resolve)  # on the full disk
                disk.empty()
                await settle(client)
            assert set(history.reasons()) <= {"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"}
            await server.check()
            server.assert_no_bug_logged()
            assert await server.stop() == 0
        shutil.copy(disk.seen / "aka.db", tmp_path / "copy.db")
    history.count(tmp_path / "copy.db")
    report("disk full", history)
    history.assert_sound()


async def test_a_server_that_is_killed_on_a_full_disk_has_all_that_it_acknowledged(
    history: History, random: Random, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", SIZE) as disk:
        server = Server(tmp_path, database=disk.folder / "aka.db", inside=disk.inside)
        async with server, Client(server.address, history) as client:
            over = asyncio.Event()
            loading = asyncio.create_task(load(client, random, over, callers=32))
            disk.fill(leave=128 << 10)
            await more(lambda: history.reasons()["STORE_UNAVAILABLE"], 50, loading)
            await server.kill()
            over.set()
            await loading
        disk.empty()
        async with server:
            async with Client(server.address, history) as client:
                await settle(client)
            await server.check()
            assert await server.stop() == 0
        shutil.copy(disk.seen / "aka.db", tmp_path / "copy.db")
    history.count(tmp_path / "copy.db")
    history.assert_sound()
