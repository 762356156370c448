"""TLS of both ports: the files of the server's certificate, read anew when they change."""

import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import structlog

CHECK_EVERY: Final = 2.0
"""Seconds for which the files are taken to be unchanged."""

log = structlog.get_logger("aka.server")


class TlsError(Exception):
    """A file that cannot be used; the message says which and why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class TlsFiles(NamedTuple):
    """Paths of PEM files."""

    cert: str
    """The server's certificate, then those between it and its authority's."""
    key: str
    """Its private key, not encrypted."""
    client_ca: str | None
    """The authorities that a caller's certificate must be from (mutual TLS); None: callers need none."""


class Certificate(NamedTuple):
    """What a certificate says."""

    name: str
    """A name or an address that it is for; empty where it is for none."""
    expires: str
    """When it ends, as OpenSSL writes it."""


class Certificates:
    """The server's certificate as its files last had it whole; one that is half written leaves the one before."""

    def __init__(self, files: TlsFiles, *, check_every: float = CHECK_EVERY) -> None:
        """Read the files; TlsError where they cannot be used."""
        self._files = files
        self._check_every = check_every
        self._lock = threading.Lock()  # grpc asks on threads of its own
        self._checked = time.monotonic()
        self._state = _state(files)
        self._loaded = _load(files)
        self._tell("certificate")

    def rest_context(self) -> ssl.SSLContext:
        """Return the REST port's context, whose handshakes are each made with the newest certificate."""
        context = rest_context(self._files)

        def take_newest(handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            handshake.context = self._newest().rest

        context.sni_callback = take_newest
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return the gRPC port's credentials, whose handshakes are each made with the newest certificate."""
        told = first = self._newest().grpc

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal told
            newest = self._newest().grpc
            if newest is told:
                return None
            told = newest
            return newest

        mutual = self._files.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(first, changed, mutual)  # type: ignore[arg-type]  # None: no change

    def _newest(self) -> "_Loaded":
        with self._lock:
            now = time.monotonic()
            if now - self._checked >= self._check_every:
                self._checked = now
                self._look()
            return self._loaded

    def _look(self) -> None:
        state = _state(self._files)
        if state == self._state:
            return
        try:
            loaded = _load(self._files)
        except TlsError as error:
            self._state = state  # tells of it once
            log.warning("the new certificate cannot be used, the old one stays", why=str(error))
            return
        if state == _state(self._files):  # else they changed meanwhile, and are read again
            self._state, self._loaded = state, loaded
            self._tell("new certificate")

    def _tell(self, event: str) -> None:
        try:
            log.info(event, expires=describe(self._files.cert, self._files.key).expires)
        except TlsError as error:
            log.warning(f"{event}, which callers will refuse", why=str(error))


class _Loaded(NamedTuple):
    rest: ssl.SSLContext
    grpc: grpc.ServerCertificateConfiguration


def _load(files: TlsFiles) -> _Loaded:
    context = rest_context(files)
    try:
        pair = Path(files.key).read_bytes(), Path(files.cert).read_bytes()
        client_ca = None if files.client_ca is None else Path(files.client_ca).read_bytes()
    except OSError as error:
        raise TlsError(str(error.filename), str(error.strerror)) from None
    return _Loaded(context, grpc.ssl_server_certificate_configuration([pair], client_ca))


def rest_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context of these files for HTTP/1.1 over TLS 1.2 or later; TlsError where one cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, files.cert, files.key)
    if files.client_ca is not None:
        load_authorities(context, files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is resumed is not verified again, and the authorities may have changed since.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Load a certificate and its key; TlsError where they cannot be read or do not belong together."""
    load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert)  # tells whether it is one
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # never asks for one
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(key, "it is the key of another certificate") from None
        raise TlsError(key, "it has no private key in PEM, or an encrypted one") from None
    except OSError as error:
        raise TlsError(key, error.strerror or str(error)) from None


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """Load the certificates that are trusted; TlsError where there are none."""
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise TlsError(path, "it has no certificate in PEM") from None
    except OSError as error:
        raise TlsError(path, error.strerror or str(error)) from None


def describe(cert: str, key: str) -> Certificate:
    """Return what a certificate says; TlsError where its own callers would refuse it, as when it has expired.

    (Python reads a certificate of a connection only: here both ends of one are in memory.)
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_pair(server, cert, key)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate is trusted though its authority is not
    load_authorities(client, cert)
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller, called = client.wrap_bio(here, there), server.wrap_bio(there, here, server_side=True)
    try:
        for end in (caller, called, caller):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise TlsError(cert, error.verify_message) from None
    told: Any = caller.getpeercert()
    names = dict(reversed(told.get("subjectAltName", ())))  # the first of each kind
    name = names["DNS"].replace("*", "any") if "DNS" in names else names.get("IP Address", "")
    return Certificate(name, told["notAfter"])


def _state(files: TlsFiles) -> tuple[object, ...]:
    """Return what tells that a file was written or replaced."""
    return tuple(_stamp(path) for path in files if path is not None)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
