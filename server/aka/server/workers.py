"""The supervisor's side of a worker: its process, and the next one where that has ended."""

import asyncio
import socket
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from time import monotonic
from typing import Final

from aka.server.logs import log
from aka.server.worker_channel import DRAIN, LONGEST_LINE, MEASURE, Served, read_served

COMMAND: Final = (sys.executable, "-P", "-m", "aka.server.worker")

STEADY: Final = 10.0
"""Seconds after which a worker that ends has not failed at its start."""
SHORTEST_WAIT: Final = 0.1
"""Seconds until a worker that failed soon after its start is started again; twice as many each time."""
LONGEST_WAIT: Final = 10.0
"""Seconds that are the most of it."""
ANSWERS_WITHIN: Final = 2.0
"""Seconds that a worker has to tell its metrics."""


class Worker:
    """A place among the workers: a process, and after its end another one."""

    def __init__(self, number: int, environ: Mapping[str, str], patience: float, fail: Callable[[int], None]) -> None:
        """`environ` has its settings; `patience`: seconds that it has to end when it is to.

        `fail` is told the exit code where the first process ends before it serves.
        """
        self.number = number
        self.serves = asyncio.Event()
        """Set while its process serves."""
        self.served: Served | None = None
        """What the first process said when it served."""
        self.ends = 0
        """How many processes have ended by themselves."""
        self._environ = environ
        self._patience = patience
        self._fail = fail
        self._draining = False
        self._writer: asyncio.StreamWriter | None = None
        self._asked: deque[asyncio.Future[bytes]] = deque()

    async def keep(self) -> None:
        """Have a process serve until cancelled, then end it."""
        wait = 0.0
        while not self._draining:
            began = monotonic()
            code = await self._live()
            if self.served is None:
                self._fail(code)
                return
            self.ends += 1
            wait = 0.0 if monotonic() - began >= STEADY else min(max(2 * wait, SHORTEST_WAIT), LONGEST_WAIT)
            tell = log.warning if code else log.info
            tell("worker ended", worker=self.number, code=code, next_in=wait)
            await asyncio.sleep(wait)

    def drain(self) -> None:
        """Have the process say that it is not to get calls; where it ends none follows."""
        self._draining = True
        self._say(DRAIN)

    def renew(self) -> None:
        """End the process when its calls have ended, so that another takes its place."""
        self.serves.clear()
        if self._writer is not None:
            self._writer.close()

    async def measure(self) -> bytes | None:
        """Return the line that has the process's metrics; None where it has none."""
        if not self.serves.is_set():
            return None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._say(MEASURE)
        done, _ = await asyncio.wait((answer,), timeout=ANSWERS_WITHIN)
        return (answer.result() or None) if done else None

    def _say(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)

    async def _live(self) -> int:
        """Run a process from its start to its end, and return its exit code."""
        ours, theirs = socket.socketpair()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        with closing(self._writer), theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *COMMAND, stdin=theirs.fileno(), env=self._environ, start_new_session=True
                )
            except OSError as error:
                log.error("worker cannot be started", worker=self.number, why=error.strerror)
                return 1
            theirs.close()
            try:
                with suppress(ConnectionError):  # it was killed before it had read all
                    if line := await reader.readline():
                        self.served = read_served(line)
                        self.serves.set()
                    while line := await reader.readline():
                        self._asked.popleft().set_result(line)
            finally:
                if not self.serves.is_set() and process.returncode is None:
                    process.terminate()  # it may be long before it looks at the channel
                self.serves.clear()
                self._writer.close()
                while self._asked:
                    self._asked.popleft().set_result(b"")
                code = await self._end_of(process)
        return code

    async def _end_of(self, process: Process) -> int:
        """Wait until a process has ended, and not for ever; return its exit code."""
        try:
            async with asyncio.timeout(self._patience):
                return await process.wait()
        except TimeoutError:
            log.error("worker killed: it did not end", worker=self.number, pid=process.pid)
            process.kill()
            return await process.wait()
