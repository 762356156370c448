"""The echo: a unary method on grpc.aio and uvloop that does nothing. What a Python server can do at most.

It takes its request as bytes, reads no metadata, and answers with a given number of bytes.
"""

import asyncio
import signal
import sys
from typing import Any, Final, TypeAlias

import grpc
import uvloop

METHOD: Final = "/aka.benchmarks.Echo/Echo"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def serve(answer_size: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    answer = bytes(answer_size)

    async def echo(request: bytes, context: Context) -> bytes:
        return answer

    _, service, method = METHOD.split("/")
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready grpc=127.0.0.1:{port}", flush=True)
    await stop.wait()
    await server.stop(1.0)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
