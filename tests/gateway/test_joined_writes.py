"""What a connection writes in one turn of the event loop is sent as one."""

import asyncio

import pytest

from aka.server.joined_writes import JoinedWrites


class Recording(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def write_eof(self) -> None:
        self.told.append("eof")

    def close(self) -> None:
        self.told.append("close")

    def is_closing(self) -> bool:
        return "close" in self.told


async def written(recording: Recording) -> JoinedWrites:
    joined = JoinedWrites(recording, asyncio.get_running_loop())
    joined.write(b"head, ")
    joined.write(b"body")
    return joined


async def test_writes_of_one_turn_are_one() -> None:
    recording = Recording()
    joined = await written(recording)
    assert recording.told == []
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)
    assert recording.told == [b"head, body", b"next"]


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_what_was_written_is_sent_before_the_end(end: str) -> None:
    recording = Recording()
    getattr(await written(recording), end)()
    await asyncio.sleep(0)
    assert recording.told == [b"head, body", end.removeprefix("write_")]


async def test_nothing_is_written_to_a_transport_that_was_closed_meanwhile() -> None:
    recording = Recording()
    await written(recording)
    recording.close()
    await asyncio.sleep(0)
    assert recording.told == ["close"]
