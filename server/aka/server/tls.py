"""TLS: the files of certificates and of those who are trusted, and what they say."""

import ssl
from contextlib import suppress
from typing import Any, NamedTuple


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
