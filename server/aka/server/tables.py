"""Tables on stdout: with rich where it is installed and a terminal shows them, else in plain aligned columns."""

import sys
from collections.abc import Sequence

import click


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; no cell is cut."""
    if sys.stdout is not None and sys.stdout.isatty() and _print_with_rich(heads, rows):
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_with_rich(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Print a table with rich, or return false where the extra `cli` is not installed."""
    try:
        # Here, since a server and a health check need not wait for it.
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as they are: a cell in brackets is no markup
    Console().print(table)
    return True
