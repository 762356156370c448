"""Flags of settings, and the database that a command names by them. (Commands that ask a server know no settings.)"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from aka.server.command_options import end
from aka.server.config import SETTINGS, SettingsError, read_settings
from aka.server.store.postgres_url import Database

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(*fields: str) -> Callable[[F], F]:
    """Add the flags of some settings, or of all."""

    def add(command: F) -> F:
        for setting in reversed(SETTINGS):
            if setting.flag is not None and (not fields or setting.field in fields):
                told = f"[{setting.env}; {setting.default}]" if setting.default else f"[{setting.env}]"
                command = click.option(
                    setting.flag, setting.field, metavar="VALUE", help=f"{setting.expected}. {told}"
                )(command)
        return command

    return add


def named_database(flag: str | None) -> Database:
    """Return the database by its flag or its variable; ends with 2 where it is none."""
    try:
        environ = {name: value for name, value in os.environ.items() if name == "AKA_DATABASE_URL"}
        return read_settings(environ, {"database": flag}).database
    except SettingsError as error:
        end(2, *error.problems)


def named_file(flag: str | None) -> str:
    """Return the path of the SQLite file by its flag or its variable; ends with 2 where it is none."""
    database = named_database(flag)
    if not isinstance(database, str):
        end(2, f"{database} is no SQLite file; use PostgreSQL's own tools, such as pg_dump and pg_restore")
    return database
