"""The channel to a server that is called, with TLS or without."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from aka.server.tls import describe, load_authorities, load_pair

_OPTIONS: Final = [
    # Or `http_proxy`, which containers often have for the way out, would be asked for a server beside this process.
    ("grpc.enable_http_proxy", 0),
    # Or a gateway whose target was away for long would be away for up to two minutes more.
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Or a machine that vanished without a word would be called until TCP gives it up, a quarter of an hour later.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
]


class ServerTls(NamedTuple):
    """How a server is known, and what it is shown."""

    ca: bytes
    """PEM of the authorities that its certificate may be from, or of the certificate itself."""
    pair: tuple[bytes, bytes] | None = None
    """PEM of the certificate that is shown to it, and of its key."""
    name: str = ""
    """The name that its certificate must be for; empty: the one that it is called by."""

    @classmethod
    def read(cls, ca: str, cert: str = "", key: str = "", name: str = "") -> "ServerTls":
        """Read the files of these paths; TlsError where one cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, ca)
        if not cert:
            return cls(Path(ca).read_bytes(), name=name)
        load_pair(context, cert, key)
        return cls(Path(ca).read_bytes(), (Path(cert).read_bytes(), Path(key).read_bytes()), name)

    @classmethod
    def own(cls, served_cert: str, served_key: str, cert: str = "", key: str = "") -> "ServerTls":
        """Know a server by the very pair that it is served with, whatever it is called by; TlsError as above."""
        return cls.read(served_cert, cert, key, describe(served_cert, served_key).name)


def client_channel(address: str, tls: ServerTls | None) -> grpc.Channel:
    """Return a channel to `HOST:PORT` or `unix:/path`; without `tls` there is none."""
    if tls is None:
        return grpc.insecure_channel(address, _OPTIONS)
    return grpc.secure_channel(address, _credentials(tls), _options(tls))


def aio_channel(address: str, tls: ServerTls | None) -> grpc.aio.Channel:
    """Return the same for asyncio."""
    if tls is None:
        return grpc.aio.insecure_channel(address, _OPTIONS)
    return grpc.aio.secure_channel(address, _credentials(tls), _options(tls))


def _credentials(tls: ServerTls) -> grpc.ChannelCredentials:
    cert, key = tls.pair or (None, None)
    return grpc.ssl_channel_credentials(tls.ca, key, cert)


def _options(tls: ServerTls) -> Sequence[tuple[str, str | int]]:
    return [*_OPTIONS, ("grpc.ssl_target_name_override", tls.name)] if tls.name else _OPTIONS
