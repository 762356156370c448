"""The `aka` command."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

_COMMANDS: Final[Mapping[str, str]] = {
    "alias": "alias_commands.alias",
    "backup": "backup_commands.backup",
    "check": "database_commands.check",
    "create-alias": "alias_commands.create_alias",
    "export": "link_commands.export_links",
    "gateway": "serve_commands.gateway",
    "health": "health_commands.health",
    "identify": "alias_commands.identify",
    "import": "link_commands.import_links",
    "keys": "admin_commands.keys",
    "migrate": "database_commands.migrate",
    "profile": "alias_commands.profile",
    "resolve": "alias_commands.resolve",
    "restore": "backup_commands.restore",
    "serve": "serve_commands.serve",
    "unlink": "alias_commands.unlink",
    "version": "version_commands.print_version",
    "workspaces": "admin_commands.workspaces",
}
"""Where each command is."""


class _Commands(click.Group):
    """Imports a command when it is asked for: to import all of them takes several times as long as one call."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(".")
        command: click.Command = getattr(import_module(f"aka.server.{module}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """aka: which profile is this identifier? An identity-alias service over gRPC."""


if __name__ == "__main__":
    main()
