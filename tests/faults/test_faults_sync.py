"""Acknowledged means synced: the log is on the disk before the caller hears of it.

A kill -9 does not show this, for what was written and not synced survives the process in the page cache.
"""

import asyncio
import ctypes
import os
import re
import shutil
import signal
from pathlib import Path
from random import Random

import pytest

from tests.faults.history import End, History
from tests.faults.lives import Life, new_user
from tests.faults.load import Client
from tests.faults.server import Server

_CACHESTAT = 451
"""Linux 6.5 and newer, by the same number on all architectures but alpha."""
_SYNC = re.compile(r"\b(?:fsync|fdatasync)\(\d+<[^>]*aka\.db-wal>")


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writing", "evicted", "recently"))


def _unsynced(file: Path) -> int | None:
    """Return how many pages of a file the disk does not have yet; None where the kernel cannot say."""
    pages = _Pages()
    number = os.open(file, os.O_RDONLY)
    try:
        failed = ctypes.CDLL(None).syscall(_CACHESTAT, number, ctypes.byref(_Range(0, 0)), ctypes.byref(pages), 0)
    finally:
        os.close(number)
    return None if failed else int(pages.dirty + pages.writing)


async def _one_user_after_the_other(client: Client, random: Random, number: int) -> None:
    for _ in range(number):
        family = client.history.family()
        call = await client.make(family, next(Life(family, random).steps(new_user)))
        assert call.end is End.ACKNOWLEDGED


async def test_when_a_call_is_acknowledged_no_page_of_the_log_waits_to_be_written(
    server: Server, history: History, random: Random, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    control.write_bytes(bytes(1 << 16))
    if not _unsynced(control):
        pytest.skip(
            "environment: this kernel or file system does not tell what is unsynced; the long form counts syncs"
        )
    wal = server.database.with_name("aka.db-wal")
    async with server, Client(server.address, history, channels=1) as client:
        for _ in range(50):
            await _one_user_after_the_other(client, random, 1)
            assert _unsynced(wal) == 0
        await history.look(client.resolve)
    history.assert_sound()


async def test_each_of_many_calls_in_a_row_syncs_the_log(
    server: Server, history: History, random: Random, tmp_path: Path, long: bool
) -> None:
    if not long:
        pytest.skip("long: it needs strace")
    assert shutil.which("strace"), "this test needs strace (apt-get install strace)"
    calls, trace = 200, tmp_path / "trace"
    async with server, Client(server.address, history, channels=1) as client:
        await _one_user_after_the_other(client, random, 1)
        command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace), "-p", str(server.pid)]
        strace = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        try:
            assert strace.stderr is not None
            said = await strace.stderr.readline()
            assert b"attached" in said, said
            await _one_user_after_the_other(client, random, calls)
        finally:
            strace.send_signal(signal.SIGINT)
            await strace.communicate()
        await history.look(client.resolve)
    syncs = len(_SYNC.findall(trace.read_text(encoding="utf-8")))
    assert syncs >= calls, f"{syncs} syncs of the log for {calls} acknowledged calls"
    history.assert_sound()
