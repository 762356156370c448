"""TLS on both ports, over real sockets: who may call, and with which certificate they are answered."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, cast

import grpc
import httpx
import pytest
import pytest_asyncio
import structlog
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from aka.server import rest_server
from aka.server.certificates import Certificates
from aka.server.rest_server import RestServer
from aka.server.tls import TlsFiles
from tests.grpc.frames import PREFACE, SETTINGS, frame
from tests.grpc.wire import Wire, serving
from tests.tls.authority import NAME, Authority

FIRST_WORDS: Final = {"http/1.1": b"GET / HTTP/1.1\r\nhost: aka\r\n\r\n", "h2": PREFACE + frame(SETTINGS, 0, 0)}
"""What a port that speaks the one or the other has an answer to."""

SCHEME: Final = Starlette(routes=[Route("/", lambda request: Response(request.url.scheme))])
"""Answers how it was called."""


Serve = Callable[[TlsFiles], Awaitable[str]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "other")


@pytest.fixture(params=["grpc", "rest"])
def port(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def serve(port: str, tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve one of the ports with the certificate of some files, which are looked at on every handshake."""
    async with AsyncExitStack() as stack:

        async def serve_port(files: TlsFiles) -> str:
            tls = Certificates(files, check_every=0)
            if port == "grpc":
                return (await stack.enter_async_context(serving(tmp_path / "aka.db", tls=tls))).address
            rest = RestServer(SCHEME, tls=tls)
            stack.push_async_callback(rest.stop, 1)
            return await rest.start("127.0.0.1:0")

        yield serve_port


def caller(trusted: Authority, shown: TlsFiles | None = None) -> ssl.SSLContext:
    """Return a caller's context: whom it trusts, and the certificate that it shows."""
    context = ssl.create_default_context(cafile=trusted.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if shown is not None:
        context.load_cert_chain(shown.cert, shown.key)
    return context


async def is_answered(address: str, context: ssl.SSLContext) -> bool:
    """Whether a caller gets an answer: neither it nor the server refuses the other."""

    def talk() -> bool:
        try:
            with connected(address, context) as connection:
                connection.sendall(FIRST_WORDS[connection.selected_alpn_protocol() or ""])
                return connection.recv(1) != b""
        except (ssl.SSLError, ConnectionError):
            return False

    return await asyncio.to_thread(talk)


@contextmanager
def connected(address: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        yield connection


def copy(source: str, target: str, size: int | None = None) -> None:
    Path(target).write_bytes(Path(source).read_bytes()[:size])


def renew(files: TlsFiles, by: TlsFiles) -> None:
    copy(by.cert, files.cert)
    copy(by.key, files.key)


@pytest.mark.parametrize("port", ["grpc"])
async def test_a_call_over_tls_is_answered(serve: Serve, authority: Authority) -> None:
    address = await serve(authority.issue())
    credentials = grpc.ssl_channel_credentials(authority.pem)
    options = [("grpc.ssl_target_name_override", NAME)]
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        assert await Wire(channel).identify("u")


@pytest.mark.parametrize("port", ["rest"])
async def test_a_request_over_tls_is_answered_and_seen_as_https(serve: Serve, authority: Authority) -> None:
    address = await serve(authority.issue("127.0.0.1"))
    async with httpx.AsyncClient(verify=caller(authority), trust_env=False) as client:
        assert (await client.get(f"https://{address}/")).text == "https"


async def test_a_caller_that_trusts_another_authority_does_not_speak_to_it(
    serve: Serve, authority: Authority, other: Authority
) -> None:
    address = await serve(authority.issue())
    assert [await is_answered(address, caller(trusted)) for trusted in (authority, other)] == [True, False]


@pytest.mark.parametrize(("port", "spoken"), [("grpc", "h2"), ("rest", "http/1.1")])
async def test_a_caller_without_tls_is_not_answered(serve: Serve, authority: Authority, spoken: str) -> None:
    host, _, number = (await serve(authority.issue())).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(number))
    writer.write(FIRST_WORDS[spoken])
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_tls_1_1_is_refused(serve: Serve, authority: Authority) -> None:
    address = await serve(authority.issue())
    old = caller(authority)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        assert await is_answered(address, old)
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert not await is_answered(address, old)


@pytest.mark.parametrize(("port", "spoken"), [("grpc", "h2"), ("rest", "http/1.1")])
async def test_each_port_says_what_it_speaks(serve: Serve, authority: Authority, port: str, spoken: str) -> None:
    address = await serve(authority.issue())

    def talk() -> str | None:
        with connected(address, caller(authority)) as connection:
            return connection.selected_alpn_protocol()

    assert await asyncio.to_thread(talk) == spoken


async def test_mutual_tls_answers_only_callers_with_a_certificate_of_the_authority(
    serve: Serve, authority: Authority, other: Authority
) -> None:
    address = await serve(authority.issue(client_ca=other.ca))
    nobody, stranger = caller(authority), caller(authority, authority.issue("stranger"))
    friend = caller(authority, other.issue("friend"))
    assert [await is_answered(address, who) for who in (nobody, stranger, friend)] == [False, False, True]


async def test_a_new_certificate_is_served_without_a_restart(
    serve: Serve, authority: Authority, other: Authority
) -> None:
    files = authority.issue()
    address = await serve(files)
    renew(files, other.issue())
    assert [await is_answered(address, caller(trusted)) for trusted in (authority, other)] == [False, True]


async def test_a_new_certificate_by_way_of_links_is_served_too(
    serve: Serve, authority: Authority, other: Authority, tmp_path: Path
) -> None:
    current = tmp_path / "current"
    current.symlink_to(authority.folder)
    authority.issue(), other.issue()
    address = await serve(TlsFiles(f"{current}/{NAME}.pem", f"{current}/{NAME}.key", None))
    (tmp_path / "next").symlink_to(other.folder)
    (tmp_path / "next").replace(current)
    assert [await is_answered(address, caller(trusted)) for trusted in (authority, other)] == [False, True]


@pytest.mark.parametrize("port", ["rest"])
async def test_a_connection_outlives_the_certificate_that_it_was_made_with(
    serve: Serve, authority: Authority, other: Authority
) -> None:
    files = authority.issue()
    host, _, number = (await serve(files)).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(number), ssl=caller(authority), server_hostname=NAME)
    renew(files, other.issue())
    assert await is_answered(f"{host}:{number}", caller(other))
    writer.write(FIRST_WORDS["http/1.1"])
    assert await reader.readuntil(b"https")
    writer.close()


async def test_callers_of_another_authority_are_let_in_without_a_restart_and_the_old_are_not(
    serve: Serve, authority: Authority, other: Authority, tmp_path: Path
) -> None:
    client_ca = f"{tmp_path}/client_ca.pem"
    copy(authority.ca, client_ca)
    address = await serve(authority.issue(client_ca=client_ca))
    old, new = (caller(authority, issuer.issue("caller")) for issuer in (authority, other))
    assert [await is_answered(address, who) for who in (old, new)] == [True, False]
    copy(other.ca, client_ca)
    assert [await is_answered(address, who) for who in (old, new)] == [False, True]


@pytest.mark.parametrize("written", ["half", "one of two", "empty"])
async def test_a_certificate_that_is_not_whole_leaves_the_old_one_and_is_warned_of_once(
    serve: Serve, authority: Authority, other: Authority, written: str
) -> None:
    files = authority.issue()
    address = await serve(files)
    whole = other.issue()
    match written:
        case "half":
            copy(whole.cert, files.cert, 300)
        case "one of two":
            copy(whole.cert, files.cert)
        case _:
            copy(whole.key, files.key, 0)
    with structlog.testing.capture_logs() as logged:
        assert [await is_answered(address, caller(authority)) for _ in range(3)] == [True] * 3
    assert [line["log_level"] for line in logged] == ["warning"]
    renew(files, whole)
    assert await is_answered(address, caller(other))


async def test_a_caller_that_keeps_its_connection_does_not_hold_up_the_stop(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_server, "GOODBYE", 0.1)
    rest = RestServer(SCHEME, tls=Certificates(authority.issue()))
    host, _, number = (await rest.start("127.0.0.1:0")).rpartition(":")
    reader, writer = await asyncio.open_connection(
        host, int(number), ssl=caller(authority), server_hostname=NAME, ssl_shutdown_timeout=0.1
    )
    writer.write(FIRST_WORDS["http/1.1"])
    await reader.readuntil(b"https")
    cast("asyncio.Transport", writer.transport).pause_reading()  # it never answers that the server says goodbye
    await rest.stop(3600)
    writer.transport.abort()


@pytest.mark.parametrize("port", ["rest"])
async def test_a_handshake_that_does_not_come_is_not_waited_for(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_server, "HANDSHAKE", 0.1)
    host, _, number = (await serve(authority.issue())).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(number))
    assert await reader.read() == b""
    writer.close()
