"""Backups under load and on a full disk: what was acknowledged before is in them, and half a backup is none."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from tests.faults.disk import small_disk
from tests.faults.history import End, History, journal_name
from tests.faults.lives import new_user
from tests.faults.load import Client, load, more
from tests.faults.server import Server

SIZE = 16 << 20


def requests(database: Path) -> set[str]:
    """Return the ids of the calls whose changes are in a database's journal."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return {request for (request,) in connection.execute("SELECT request FROM journal")}


async def test_a_backup_under_load_has_all_that_was_acknowledged_before_it_and_is_in_order(
    server: Server, history: History, random: Random, long: bool, tmp_path: Path
) -> None:
    async with server, Client(server.address, history) as client:
        over = asyncio.Event()
        loading = asyncio.create_task(load(client, random, over, callers=32, acts=[new_user]))
        for number in range(20 if long else 2):
            await more(history.acknowledged, 200, loading)
            before = {journal_name(call.id) for call in history.calls if call.end is End.ACKNOWLEDGED}
            backup = tmp_path / f"backup-{number}.db"
            ended = await server.aka("backup", "--check", str(backup))
            assert ended.returncode == 0, ended.stdout + ended.stderr
            assert before - requests(backup) == set()
        over.set()
        await loading
        await history.look(client.resolve)
    history.assert_sound()
    server.assert_no_bug_logged()


async def test_on_a_full_disk_no_backup_and_no_restored_database_are_left_and_what_was_there_is(
    history: History, random: Random, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", SIZE) as disk:
        backup, draft = disk.seen / "backup.db", disk.seen / "backup.db.new"
        async with Server(tmp_path, database=disk.folder / "aka.db", inside=disk.inside) as server:
            async with Client(server.address, history) as client:
                await load(client, random, asyncio.Event(), callers=16, acts=[new_user], at_most=500)
                disk.fill(leave=128 << 10)
                ended = await server.aka("backup", str(disk.folder / "backup.db"))
                assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
                assert not backup.exists()
                assert not draft.exists()
                disk.empty()
                ended = await server.aka("backup", str(disk.folder / "backup.db"))
                assert ended.returncode == 0, ended.stderr
            assert await server.stop() == 0
            before = (disk.seen / "aka.db").read_bytes()
            disk.fill(leave=128 << 10)
            ended = await server.aka("restore", "--replace", str(disk.folder / "backup.db"))
            assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
            assert (disk.seen / "aka.db").read_bytes() == before
            assert not (disk.seen / "aka.db.new").exists()
            disk.empty()
            await server.check()
    history.assert_sound()
