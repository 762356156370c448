"""The channel to a server, or to all servers that a name stands for: TLS, keepalive, retries."""

import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple

import grpc

MOST_RETRIES: Final = 4
"""gRPC makes 5 attempts at most."""

_OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.service_config_disable_resolution", 1),  # what a name server says does not change how calls are made
    ("grpc.enable_http_proxy", 0),  # aka is beside its callers; `http_proxy` is for the way out
    # A server that was away is found again within about a second of its return.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that vanished without a word is noticed. (aka allows a ping every 10 s.)
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # newer gRPC goes by this one; it is a minute unless told
    # A call is kept until it is answered, so that it can be repeated: the largest that aka takes has about 480 KB.
    ("grpc.per_rpc_retry_buffer_size", 512 * 1024),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server is known, and what it is shown. The files are PEM."""

    ca: str | PathLike[str] | None = None
    """The authorities that its certificate may be from; None: the public ones."""
    cert: str | PathLike[str] | None = None
    """With mutual TLS: the certificate that the server is shown."""
    key: str | PathLike[str] | None = None
    """With mutual TLS: its key, not encrypted."""
    server_name: str | None = None
    """The name that its certificate must be for; None: the one that it is called by."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. OSError where one cannot be read, ValueError where one is not what it should be."""
        if (self.cert is None) != (self.key is None):
            raise ValueError("Tls: cert and key, one needs the other")
        # gRPC itself would only log that it cannot use them.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key, password=_refuse_encrypted)
        except ssl.SSLError as error:
            raise ValueError(f"Tls: no PEM files that can be used and belong together: {error}") from None
        ca, key, cert = (None if path is None else Path(path).read_bytes() for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


class Target(NamedTuple):
    """What a channel is made of."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: Sequence[tuple[str, str | int]]

    @classmethod
    def of(cls, address: str, tls: Tls | None, retries: int) -> "Target":
        """Check it, and read the files of TLS: see `Tls.credentials`. ValueError where it cannot be."""
        if not 0 <= retries <= MOST_RETRIES:
            raise ValueError(f"retries: {retries} is not from 0 to {MOST_RETRIES}")
        if ":" not in address or re.match(r"https?:", address):
            raise ValueError(f"address: {address!r} is not HOST:PORT, unix:/path or another gRPC target")
        options = [*_OPTIONS, ("grpc.enable_retries", min(retries, 1))]
        options.append(("grpc.service_config", json.dumps(service_config(retries))))
        if tls is None:
            return cls(address, None, options)
        if tls.server_name:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return cls(address, tls.credentials(), options)


def service_config(retries: int) -> dict[str, object]:
    """Return how gRPC spreads and repeats calls. (https://github.com/grpc/proposal/blob/master/A6-client-retries.md)

    Calls go to all addresses in turn. UNAVAILABLE, ABORTED and RESOURCE_EXHAUSTED are repeated, with backoff and
    gRPC's own jitter, within the call's deadline. Of the last aka means OVERLOADED alone: with RATE_LIMITED it sends
    the pushback that forbids it. Where too many calls fail, none is repeated until more of them succeed. An import is
    not repeated: what is kept of it may not be all.
    """
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if retries:
        policy = {
            "maxAttempts": retries + 1,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 3,
            "retryableStatusCodes": ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"],
        }
        service = "aka.v1.AliasService"
        config |= {
            "methodConfig": [
                {"name": [{"service": service}], "retryPolicy": policy},
                {"name": [{"service": service, "method": "ImportLinks"}]},
            ],
            "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
        }
    return config


def open_channel(target: Target) -> grpc.Channel:
    """Return a channel of the threaded API."""
    if target.credentials is None:
        return grpc.insecure_channel(target.address, target.options)
    return grpc.secure_channel(target.address, target.credentials, target.options)


def open_async_channel(target: Target) -> grpc.aio.Channel:
    """Return a channel of the event loop that runs."""
    if target.credentials is None:
        return grpc.aio.insecure_channel(target.address, target.options)
    return grpc.aio.secure_channel(target.address, target.credentials, target.options)


def _refuse_encrypted() -> str:
    raise ValueError("Tls: the key must not be encrypted")
