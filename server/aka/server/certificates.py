"""The server's certificate on both ports, its files read anew when they change."""

import ssl
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from aka.server.logs import log
from aka.server.tls import TlsError, TlsFiles, describe, rest_context

CHECK_EVERY: Final = 2.0
"""Seconds for which the files are taken to be unchanged."""


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


def _state(files: TlsFiles) -> tuple[object, ...]:
    """Return what tells that a file was written or replaced."""
    return tuple(_stamp(path) for path in files if path is not None)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
