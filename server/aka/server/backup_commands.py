"""`aka backup` and `aka restore`."""

from typing import NoReturn

import click

from aka.server.command_options import end
from aka.server.settings_options import named_file, settings_options
from aka.server.store.sqlite_backup import CannotCopy, back_up
from aka.server.store.sqlite_backup import restore as put_back


@click.command()
@click.argument("file")
@settings_options("database")
@click.option("--check", "thorough", is_flag=True, help="Check the copy as `aka check` does, not quickly.")
@click.option("--replace", is_flag=True, help="Replace a backup that is there already.")
def backup(file: str, database: str | None, thorough: bool, replace: bool) -> None:
    """Copy the database into FILE, beside a running server or without one.

    The copy is everything that was committed when the command began. FILE is there when it is whole, synced and
    checked, or not at all; exits with 1 where it is not.
    """
    path = named_file(database)
    try:
        report = back_up(path, file, replace=replace, thorough=thorough)
    except CannotCopy as error:
        _refuse(error)
    click.echo(f"{path} is backed up to {file}; {report.summary}: no faults")


@click.command()
@click.argument("file")
@settings_options("database")
@click.option(
    "--replace", is_flag=True, help="Put it in the place of a database that is there; that one gets a new name."
)
def restore(file: str, database: str | None, replace: bool) -> None:
    """Put the backup FILE in the database's place. No server may have the database.

    FILE is copied; the copy is migrated and checked as `aka check` does before anything is changed. Exits with 1 where
    it was not restored.
    """
    path = named_file(database)
    try:
        report, aside = put_back(file, path, replace=replace)
    except CannotCopy as error:
        _refuse(error)
    if aside is not None:
        click.echo(f"the database that was there is now {aside}")
    click.echo(f"{file} is restored to {path}; {report.summary}: no faults")


def _refuse(error: CannotCopy) -> NoReturn:
    for fault in error.faults:
        click.echo(fault)
    end(1, str(error))
