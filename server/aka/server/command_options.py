"""What the commands of `aka` share: the flags of settings, the database that they name, and an end with an error."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from aka.server.config import SETTINGS, SettingsError, read_settings

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


def database_path(flag: str | None) -> str:
    """Return the path of the database by its flag or its variable; ends with 2 where it is none."""
    try:
        environ = {name: value for name, value in os.environ.items() if name == "AKA_DATABASE_URL"}
        return read_settings(environ, {"database": flag}).database
    except SettingsError as error:
        end(2, *error.problems)


def end(code: int, *lines: str) -> NoReturn:
    """Print the lines on stderr and exit."""
    for line in lines:
        click.echo(f"aka: {line}", err=True)
    sys.exit(code)
