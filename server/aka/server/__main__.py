"""The `aka` command."""

import os
import sys
from importlib.metadata import version

import click
import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.server import logs
from aka.server.addresses import CannotListen
from aka.server.admin_commands import keys, workspaces
from aka.server.alias_commands import COMMANDS as ALIAS_COMMANDS
from aka.server.app import CANNOT_SERVE, serve_alone, serve_gateway
from aka.server.backup_commands import backup, restore
from aka.server.client_channel import ServerTls, client_channel
from aka.server.command_options import (
    address_option,
    end,
    named_database,
    server_option,
    server_tls_options,
    settings_options,
)
from aka.server.config import SettingsError, as_variables, read_settings
from aka.server.link_commands import export_links, import_links
from aka.server.methods import SERVICE
from aka.server.store.databases import check_database, migrate_database
from aka.server.store.store import CannotOpen
from aka.server.supervisor import WorkerFailed, supervise
from aka.server.tls import TlsError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """aka: which profile is this identifier? An identity-alias service over gRPC."""


@main.command()
@settings_options()
def serve(**flags: str | None) -> None:
    """Serve until SIGINT or SIGTERM.

    Prints `aka ready grpc=HOST:PORT rest=HOST:PORT` on stdout when it serves, logs to stderr, and exits with 0 when
    it was stopped, 1 where it cannot serve, 2 for settings that cannot be. The first API key of a new database is
    AKA_BOOTSTRAP_API_KEY, or made up.
    """
    try:
        settings = read_settings(os.environ, flags)
    except SettingsError as error:
        end(2, *error.problems)
    logs.set_up(settings.log_level, settings.log_format)
    try:
        uvloop.run(serve_alone(settings) if settings.workers == 1 else supervise(settings, as_variables(flags)))
    except CANNOT_SERVE as error:
        end(1, str(error))
    except WorkerFailed as failed:
        sys.exit(failed.code)


@main.command()
@address_option("--target", required=True, help="The gRPC server to call: HOST:PORT or unix:/path.")
@server_tls_options(own=False)
@settings_options(
    "rest_address",
    "cors_origins",
    "metrics_address",
    "log_level",
    "log_format",
    "grace",
    "drain",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
)
def gateway(target: str, tls: ServerTls | None, **flags: str | None) -> None:
    """Serve the REST gateway alone, in front of a gRPC server, until SIGINT or SIGTERM.

    The callers' keys, request ids and deadlines go on to that server; the gateway has no key and no database.
    """
    try:
        settings = read_settings(os.environ, flags)
    except SettingsError as error:
        end(2, *error.problems)
    if not settings.rest_address:
        end(2, "AKA_REST_ADDRESS: a gateway needs an address to listen on")
    logs.set_up(settings.log_level, settings.log_format)
    try:
        uvloop.run(serve_gateway(settings, target, tls))
    except (CannotListen, TlsError) as error:
        end(1, str(error))


@main.command()
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


@main.command()
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


@main.command()
@server_option()
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0.0, min_open=True),
    default=5.0,
    show_default=True,
    help="How long to wait for its answer.",
)
@server_tls_options(own=True)
def health(server: str, timeout: float, tls: ServerTls | None) -> None:
    """Ask a server whether it serves; exits with 1 where it does not.

    Where AKA_TLS_CERT is set, as it is beside the server, that very certificate is trusted without --server-ca.
    """
    with client_channel(server, tls) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)  # type: ignore[attr-defined]
        except grpc.RpcError as error:
            end(1, f"{server}: {error.code().name}: {error.details()}")
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    click.echo(name)
    sys.exit(0 if name == "SERVING" else 1)


@main.command(name="version")
def print_version() -> None:
    """Print aka's version."""
    click.echo(f"aka {version('aka')}")


for command in (*ALIAS_COMMANDS, backup, restore, keys, workspaces, import_links, export_links):
    main.add_command(command)

if __name__ == "__main__":
    main()
