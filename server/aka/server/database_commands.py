"""`aka migrate` and `aka check`."""

import sys

import click

from aka.server.command_options import end
from aka.server.settings_options import named_database, settings_options
from aka.server.store.databases import check_database, migrate_database
from aka.server.store.store import CannotOpen


@click.command()
@settings_options("database")
@click.option("--dry-run", is_flag=True, help="Show what is pending and apply nothing.")
def migrate(database: str | None, dry_run: bool) -> None:
    """Bring the database's tables up to date; `aka serve` does so too. No server may have a SQLite file."""
    named = named_database(database)
    try:
        todo = migrate_database(named, apply=not dry_run)
    except CannotOpen as error:
        end(1, str(error))
    for number, name, _ in todo:
        click.echo(f"{'pending' if dry_run else 'applied'} {number:04} {name}")
    if not todo:
        click.echo("up to date")


@click.command()
@settings_options("database")
def check(database: str | None) -> None:
    """Check the database's integrity, beside a running server or without one; exits with 1 where anything is wrong."""
    named = named_database(database)
    try:
        report = check_database(named)
    except CannotOpen as error:
        end(1, str(error))
    for fault in report.faults:
        click.echo(fault)
    click.echo(f"{report.summary}: {len(report.faults) or 'no'} fault{'s' * (len(report.faults) != 1)}")
    sys.exit(1 if report.faults else 0)
