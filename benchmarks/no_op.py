"""aka's pipeline on a method that does nothing, served by aka's own gRPC server.

Key check against a store (in memory), permission, decoding, rate limit, trailers and encoding are aka's; the method
behind them, Alias by its messages, returns one answer that was made before.
"""

import asyncio
import os
import signal
from typing import Final

import uvloop

from aka.server import bootstrap, logs
from aka.server.grpc_server import GrpcServer
from aka.server.keys import KeyRing
from aka.server.limits import Limiter, RateLimit
from aka.server.methods import METHODS, SERVICE
from aka.server.pipeline import Pipeline
from aka.server.service import Session
from aka.server.store.sqlite import SqliteStore
from aka.v1 import alias_service_pb2 as v1

ANSWER: Final = v1.AliasResponse(
    user_id="user-00000000",
    alias_id="alias-00000000",
    profile_id="01890a5d-ac96-774b-bcce-b302099a8057",
    outcome=v1.OUTCOME_CREATED,
)


class _NoOp:
    """A servicer that knows one answer."""

    def __init__(self) -> None:
        for name in METHODS:
            setattr(self, name, self._answer)

    async def _answer(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
        return ANSWER


async def serve(key: str) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    logs.set_up("info", "json")
    store = await SqliteStore.open(":memory:")
    await bootstrap.add_first_key(store, key)
    keys = KeyRing(store)
    pipeline = Pipeline({SERVICE: _NoOp()}, keys, Limiter(RateLimit(100_000_000, "minute")))
    server = GrpcServer(pipeline, keys, reflection_needs="on")
    print(f"ready grpc={await server.start('127.0.0.1:0')}", flush=True)
    await stop.wait()
    await server.stop(1.0)
    await keys.close()
    await store.close()


if __name__ == "__main__":
    uvloop.run(serve(os.environ["AKA_BOOTSTRAP_API_KEY"]))
