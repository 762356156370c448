"""What is counted of calls that nobody waits for any more, and of commits that fail."""

from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2

from aka.server.local_stub import LocalStub
from aka.server.methods import METHODS, SERVICE
from aka.server.metrics import Histogram
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import KEY, Held, Server, serving, wire_to


def codes(server: Server) -> dict[int, int]:
    """Return how calls of Alias ended."""
    return dict(server.pipeline.metrics.methods[SERVICE, "Alias"].codes)


async def test_a_call_whose_caller_hung_up_is_counted_as_cancelled(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path / "aka.db", servicer=held.servicer) as server, wire_to(server) as wire:
        running = wire.start("Alias", {"user_id": "u", "alias_id": "a"})
        await held.entered.wait()
        running.cancel()
        await held.left.wait()
        assert codes(server) == {code_pb2.CANCELLED: 1}


async def test_a_call_whose_deadline_passed_is_counted_as_such(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path / "aka.db", servicer=held.servicer) as server:
        stub = LocalStub(server.pipeline, METHODS)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Alias(v1.AliasRequest(), metadata=[("authorization", f"Bearer {KEY}")], timeout=0.05)
        assert codes(server) == {code_pb2.DEADLINE_EXCEEDED: 1}


async def test_changes_that_were_not_committed_are_not_counted(tmp_path: Path) -> None:
    async with serving(tmp_path / "aka.db") as server, wire_to(server) as wire:
        lock = server.connect()
        lock.execute("BEGIN IMMEDIATE")
        try:
            assert (await wire.refused("Alias", {"user_id": "u", "alias_id": "a", "create_missing": True})).reason
        finally:
            lock.close()
        measured = await server.store.measure()
        assert set(measured.changes.values()) == {0}
        await wire("Alias", {"user_id": "u", "alias_id": "a", "create_missing": True})
        assert (await server.store.measure()).changes["created"] == 1


@pytest.mark.parametrize(("value", "bucket"), [(0.5, 0), (1.0, 0), (1.1, 1), (2.0, 1), (2.1, 2)])
def test_a_bound_belongs_to_its_bucket_and_what_is_beyond_the_last_to_one_more(value: float, bucket: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)
    assert histogram.counts == [int(place == bucket) for place in range(3)]
