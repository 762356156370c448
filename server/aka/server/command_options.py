"""What the commands of `aka` share: flags, the TLS that they name, and an end with an error."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from aka.server.addresses import address
from aka.server.client_channel import ServerTls
from aka.server.tls import TlsError

F = TypeVar("F", bound=Callable[..., Any])


def address_option(flag: str, **more: Any) -> Callable[[F], F]:
    """Add a flag that names a server to call; one that is no address ends with 2."""

    def checked(context: click.Context, option: click.Parameter, value: str) -> str:
        try:
            return address(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not HOST:PORT or unix:/path") from None

    return click.option(flag, metavar="ADDRESS", callback=checked, **more)


def server_option() -> Callable[[F], F]:
    """Add the flag that names the server to ask."""
    told = "The server to ask. [AKA_SERVER, else AKA_GRPC_ADDRESS]"
    return address_option(
        "--server", envvar=["AKA_SERVER", "AKA_GRPC_ADDRESS"], default="127.0.0.1:50051", show_default=True, help=told
    )


def key_option(*, checked: bool = True) -> Callable[[F], F]:
    """Add the flag of the API key to ask with; unless it is `checked` later, one that cannot be sent ends with 2."""

    def check(context: click.Context, option: click.Parameter, value: str) -> str:
        return sent_key(value) if checked else value

    told = "The API key to ask with; better given in AKA_API_KEY, which other users of the machine cannot see."
    return click.option("--key", metavar="KEY", envvar="AKA_API_KEY", default="", callback=check, help=told)


def sent_key(key: str, *, or_else: str = "") -> str:
    """Return the key as it is sent; ends with 2 where it cannot be."""
    key = key.strip()
    if not key:
        end(2, f"AKA_API_KEY, --key: an API key is needed to ask a server{or_else}")
    if not (key.isascii() and key.isprintable()):
        end(2, "AKA_API_KEY, --key: no API key has such characters")
    return key


def server_tls_options(*, own: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the flags of TLS to a command that calls a server; it gets what they say as `tls: ServerTls | None`.

    Without --server-ca, an `own` server, one that has this command's environment, is known by AKA_TLS_CERT itself.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--server-ca", **_file("AKA_SERVER_CA", "the authorities of the server's certificate: calls use TLS")
        )
        @click.option(
            "--client-cert", **_file("AKA_CLIENT_CERT", "the certificate that the server is shown (mutual TLS)")
        )
        @click.option("--client-key", **_file("AKA_CLIENT_KEY", "that certificate's key, not encrypted"))
        @functools.wraps(command)
        def with_tls(server_ca: str, client_cert: str, client_key: str, **rest: Any) -> Any:
            own_cert = os.environ.get("AKA_TLS_CERT", "") if own else ""
            if bool(client_cert) != bool(client_key):
                end(2, "AKA_CLIENT_CERT, AKA_CLIENT_KEY: one needs the other")
            tls: ServerTls | None = None
            try:
                if server_ca:
                    tls = ServerTls.read(server_ca, client_cert, client_key)
                elif own_cert:
                    own_key = os.environ.get("AKA_TLS_KEY", "")
                    tls = ServerTls.own(own_cert, own_key, client_cert, client_key)
                elif client_cert:
                    end(2, "AKA_SERVER_CA: it is needed where AKA_CLIENT_CERT is set")
            except TlsError as error:
                end(2, str(error))
            return command(tls=tls, **rest)

        return with_tls

    return add


def _file(env: str, told: str) -> dict[str, Any]:
    return {"envvar": env, "metavar": "FILE", "default": "", "help": f"a PEM file of {told}. [{env}]"}


def end(code: int, *lines: str) -> NoReturn:
    """Print the lines on stderr and exit."""
    for line in lines:
        click.echo(f"aka: {line}", err=True)
    sys.exit(code)
