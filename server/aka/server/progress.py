"""How far a long command is: a bar on a terminal, where rich is installed, else a line from time to time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import click

Show = Callable[[int, float | None], None]
"""Is told how many links are done, and which part of all that is, where that is known."""

LINE_EVERY: Final = 10.0
"""Seconds."""


class Pace:
    """Tells the rate, and the time that is left, since it was first told how far it is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int, float] | None = None

    def tell(self, links: int, part: float | None) -> str:
        """Return one line."""
        now = self._clock()
        if self._first is None:
            self._first = now, links, part or 0.0
        began, at_first, part_at_first = self._first
        told = [f"{links:,} links"]
        if now > began and links > at_first:
            told.append(f"{(links - at_first) / (now - began):,.0f}/s")
        if part is not None:
            told.append(f"{part:.0%}")
            if part_at_first < part:
                seconds = (now - began) * (1 - part) / (part - part_at_first)
                told.append(f"{timedelta(seconds=round(seconds))} left")
        return ", ".join(told)


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Show]:
    """Show progress on stderr while the block runs; nothing where it is to be quiet."""
    if quiet:
        yield lambda links, part: None
        return
    rich = _rich() if sys.stderr.isatty() else None
    pace = Pace()
    if rich is None:
        told = time.monotonic()

        def line(links: int, part: float | None) -> None:
            nonlocal told
            text = pace.tell(links, part)
            if time.monotonic() - told >= LINE_EVERY:
                told = time.monotonic()
                click.echo(text, err=True)

        yield line
        return
    with rich as bar:
        task = bar.add_task("", total=None)

        def move(links: int, part: float | None) -> None:
            total = None if part is None else 1.0
            bar.update(task, description=pace.tell(links, part), completed=part or 0.0, total=total)

        yield move


def _rich() -> Any:
    """Return rich's bar; None where the extra `cli` is not installed."""
    try:
        # Here, since other commands need not wait for it.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
    except ImportError:
        return None
    return Progress(BarColumn(), TextColumn("{task.description}", markup=False), console=Console(stderr=True))
