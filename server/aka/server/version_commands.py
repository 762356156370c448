"""`aka version`."""

from importlib.metadata import version

import click


@click.command(name="version")
def print_version() -> None:
    """Print aka's version."""
    click.echo(f"aka {version('aka')}")
