"""`aka serve` and `aka gateway`."""

import os
import sys
from collections.abc import Mapping

import click
import uvloop

from aka.server import logs
from aka.server.addresses import CannotListen
from aka.server.app import CANNOT_SERVE, serve_alone, serve_gateway
from aka.server.client_channel import ServerTls
from aka.server.command_options import address_option, end, server_tls_options
from aka.server.config import Settings, SettingsError, as_variables, read_settings
from aka.server.settings_options import settings_options
from aka.server.tls import TlsError


@click.command()
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
        if settings.workers == 1:
            uvloop.run(serve_alone(settings))
        else:
            _serve_by_workers(settings, as_variables(flags))
    except CANNOT_SERVE as error:
        end(1, str(error))


def _serve_by_workers(settings: Settings, variables: Mapping[str, str]) -> None:
    from aka.server.supervisor import WorkerFailed, supervise  # whose imports one server can do without

    try:
        uvloop.run(supervise(settings, variables))
    except WorkerFailed as failed:
        sys.exit(failed.code)


@click.command()
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
