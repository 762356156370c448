"""Whether the store can be used: asked again and again, and told to whoever serves."""

import asyncio
from collections.abc import Callable
from typing import Final

from aka.server.errors import AkaError
from aka.server.logs import log
from aka.server.store.store import Store
from aka.v1 import alias_service_pb2 as v1

EVERY: Final = 0.5
"""Seconds between two looks."""
PATIENCE: Final = 2.0
"""Seconds that a store may take to answer; one that stands still is away too."""


class Readiness:
    """Knows whether the store could be used when it was last looked at."""

    def __init__(self, store: Store, tell: Callable[[bool], None]) -> None:
        """`tell` is called whenever that is another."""
        self._store = store
        self._tell = tell
        self.ready = True

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            why = await self._look()
            if self.ready == bool(why):
                self.ready = not why
                self._tell(self.ready)
                if why:
                    log.warning("the store is away", why=why)
                else:
                    log.info("the store is back")
            await asyncio.sleep(EVERY)

    async def _look(self) -> str:
        """Return why the store cannot be used; nothing where it can."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._store.check_ready()
        except TimeoutError:
            return f"it did not answer within {PATIENCE} s"
        except AkaError as refusal:  # another reason, such as OVERLOADED, says that it is there
            return refusal.message if refusal.reason == v1.ERROR_REASON_STORE_UNAVAILABLE else ""
        return ""
