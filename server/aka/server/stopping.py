"""How a server learns that it shall stop: first it says so, after the drain it does."""

import asyncio
import signal

from aka.server.logs import log


class Stopping:
    """The two steps of a stop."""

    def __init__(self, drain: float = 0.0) -> None:
        """`drain`: seconds between the steps."""
        self._drain = drain
        self.draining = asyncio.Event()
        """Set: the server says that it is not to get calls, and still serves those that come."""
        self.over = asyncio.Event()
        """Set: it takes no more calls."""

    def begin(self) -> None:
        """Drain, then stop; whoever asks a second time does not want to wait."""
        if self.draining.is_set() or not self._drain:
            self.end()
        else:
            log.info("draining", seconds=self._drain)
            self.draining.set()
            asyncio.get_running_loop().call_later(self._drain, self.end)

    def end(self) -> None:
        """Stop now."""
        self.draining.set()
        self.over.set()

    def begin_on_signals(self) -> None:
        """Begin at SIGINT and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.begin)
