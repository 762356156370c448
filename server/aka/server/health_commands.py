"""`aka health`."""

import sys

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.server.client_channel import ServerTls, client_channel
from aka.server.command_options import end, server_option, server_tls_options
from aka.server.methods import SERVICE


@click.command()
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
