"""A worker of `aka serve --workers`: a server that shares its ports with others and does as its supervisor says.

Run by the supervisor as `python -m aka.server.worker`, with the channel between them as stdin.
"""

import asyncio
import os
import signal
import socket
import sys

import uvloop

from aka.server import logs
from aka.server.app import CANNOT_SERVE, Counted, serve
from aka.server.command_options import end
from aka.server.config import Settings, SettingsError, read_settings
from aka.server.metrics_server import collect_from
from aka.server.stopping import Stopping
from aka.server.worker_channel import DRAIN, MEASURE, Served, write_served
from aka.server.worker_metrics import write_metrics


def main() -> None:
    """Serve by the environment's settings until the supervisor says otherwise; ends as `aka serve` does."""
    try:
        settings = read_settings(os.environ, {})
    except SettingsError as error:
        end(2, *error.problems)
    logs.set_up(settings.log_level, settings.log_format)
    try:
        uvloop.run(_work(settings))
    except CANNOT_SERVE as error:
        end(1, str(error))


async def _work(settings: Settings) -> None:
    stop = Stopping(settings.drain)

    def terminate() -> None:
        # From whoever stops all processes at once, the supervisor among them, which then decides how long it takes.
        if not stop.draining.is_set():
            stop.begin()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=sys.stdin.fileno()))
    serves = asyncio.get_running_loop().create_future()

    async def measure() -> bytes:
        counted: Counted = await serves
        try:
            return write_metrics(await collect_from(*counted)())
        except Exception as bug:
            logs.bug(bug)
            return write_metrics([])

    async def obey() -> None:
        try:
            while line := await reader.readline():
                if line == DRAIN:
                    stop.draining.set()
                elif line == MEASURE:
                    writer.write(await measure())
        finally:
            stop.end()  # the supervisor wants it, or is gone: nobody shall be left over

    def announce(served: Served, counted: Counted) -> None:
        writer.write(write_served(served))
        serves.set_result(counted)

    obeying = asyncio.create_task(obey())
    try:
        await serve(settings, stop, announce)
    finally:
        obeying.cancel()
        writer.close()


if __name__ == "__main__":
    main()
