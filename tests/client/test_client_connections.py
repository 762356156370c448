"""How servers are reached: addresses, channels, TLS, keys, threads, traces."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from opentelemetry.sdk.trace import TracerProvider

from aka.client import AsyncClient, Client, KeyInvalid, Tls, UnavailableError
from aka.client._channel import Target
from aka.server.certificates import Certificates
from tests.cli.command import KEY as PROCESS_KEY
from tests.cli.command import serving as serving_process
from tests.client.calling import Script, client_of
from tests.client.calls import Workspace
from tests.grpc.wire import KEY, serving
from tests.telemetry.recording import Recorded, trace_of
from tests.tls.authority import NAME, Authority

LONG = os.environ.get("AKA_TEST_LONG") == "1"
SOMEWHERE = "127.0.0.1:1"


async def test_calls_go_to_all_addresses_in_turn(database: Path, tmp_path: Path, api: str) -> None:
    scripts = Script(), Script()
    second = Path(copyfile(database, tmp_path / "second.db"))
    async with (
        serving(database, servicer=scripts[0].servicer) as one,
        serving(second, servicer=scripts[1].servicer) as other,
        client_of(api, f"ipv4:{one.address},{other.address}") as client,
    ):
        while not all(script.seen for script in scripts):  # both are connected to by then
            await client.resolve("u")
        for script in scripts:
            script.seen.clear()
        for _ in range(6):
            await client.resolve("u")
    assert [len(script.seen) for script in scripts] == [3, 3]


async def test_a_unix_socket_is_an_address(database: Path, api: str) -> None:
    address = f"unix:{database.parent}/aka.sock"
    async with serving(database, address=address), client_of(api, address) as client:
        assert not (await client.resolve("u")).found


@pytest.mark.parametrize("address", ["localhost", "https://aka.example.com:443", "http:aka", ""])
def test_what_is_no_address_is_a_value_error(address: str) -> None:
    for kind in (AsyncClient, Client):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            kind(address, api_key=KEY)


def test_an_address_or_a_channel_is_needed_and_not_both() -> None:
    for kind in (AsyncClient, Client):
        with pytest.raises(TypeError, match="an address or a channel"):
            kind(api_key=KEY)
    with grpc.insecure_channel(SOMEWHERE) as channel, pytest.raises(TypeError, match="an address or a channel"):
        Client(SOMEWHERE, channel=channel, api_key=KEY)


async def test_a_channel_that_is_given_is_used_and_stays_open(server: Workspace) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(2):
            async with AsyncClient(channel=channel, api_key=server.key) as client:
                assert not (await client.resolve("u")).found


async def test_a_channel_of_threads_that_is_given_is_used_and_stays_open(server: Workspace) -> None:
    def resolve() -> None:
        with grpc.insecure_channel(server.address) as channel:
            for _ in range(2):
                with Client(channel=channel, api_key=server.key) as client:
                    assert not client.resolve("u").found

    await asyncio.to_thread(resolve)


async def test_a_closed_client_says_so(server: Workspace, api: str) -> None:
    async with client_of(api, server) as client:
        await client.resolve("u")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="The client is closed"):
            await client.resolve("u")


@pytest.mark.parametrize("call", [lambda client: client.resolve("u"), lambda client: [*client.resolve_many(["u"])]])
def test_a_client_that_another_thread_closes_says_so(
    call: Callable[[Client], object], server: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close() -> tuple[()]:
        client.close()
        return ()

    monkeypatch.setattr("aka.client._connection.trace_metadata", close)  # behind the look whether it is closed
    client = Client(server.address, api_key=server.key)
    with pytest.raises(RuntimeError, match="The client is closed"):
        call(client)


async def test_a_client_may_be_made_before_the_event_loop_and_used_in_it(server: Workspace) -> None:
    client = await asyncio.to_thread(AsyncClient, server.address, api_key=server.key)
    async with client:
        assert not (await client.resolve("u")).found


async def test_a_proxy_is_not_asked(server: Workspace, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{SOMEWHERE}")
    async with client_of(api, server, retries=0) as client:
        assert not (await client.resolve("u")).found


async def test_a_key_may_come_from_the_environment(
    server: Workspace, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKA_API_KEY", f" {server.key}\n")
    async with client_of(api, server, api_key=None) as client:
        assert not (await client.resolve("u")).found
    async with client_of(api, server, api_key="another-key-that-is-not-known") as client:
        with pytest.raises(KeyInvalid):
            await client.resolve("u")


@pytest.mark.parametrize("key", [None, "", "  ", "schlüssel", "a\nb"])
def test_a_key_that_cannot_be_sent_is_a_value_error(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AKA_API_KEY", raising=False)
    for kind in (AsyncClient, Client):
        with pytest.raises(ValueError, match="api_key: "):
            kind(SOMEWHERE, api_key=key)


async def test_a_key_is_not_shown(server: Workspace) -> None:
    client = AsyncClient(server.address, api_key=server.key)
    shown: Any = client._connection._terms
    assert server.key not in repr(shown)
    assert server.key not in repr(shown.begin(Target("", None, ()), None))


@pytest_asyncio.fixture
async def authority(tmp_path: Path) -> Authority:
    """Who issues the certificates."""
    return Authority(tmp_path / "authority")


@pytest_asyncio.fixture(params=["TLS", "mutual TLS"])
async def served_with_tls(
    request: pytest.FixtureRequest, database: Path, authority: Authority
) -> AsyncIterator[tuple[str, str]]:
    """A server's address, and which of both it wants."""
    mutual = request.param == "mutual TLS"
    files = authority.issue("127.0.0.1", client_ca=authority.ca if mutual else None)
    async with serving(database, tls=Certificates(files)) as running:
        yield running.address, request.param


async def test_a_server_is_called_with_tls(served_with_tls: tuple[str, str], authority: Authority, api: str) -> None:
    address, kind = served_with_tls
    shown = authority.issue("caller")
    tls = Tls(authority.ca) if kind == "TLS" else Tls(Path(authority.ca), shown.cert, shown.key)
    async with client_of(api, address, tls=tls) as client:
        assert not (await client.resolve("u")).found


async def test_a_server_of_another_authority_is_not_called(
    served_with_tls: tuple[str, str], tmp_path: Path, api: str
) -> None:
    address, _ = served_with_tls
    for tls in (Tls(Authority(tmp_path / "other").ca), Tls(), None):
        async with client_of(api, address, tls=tls, retries=0) as client:
            with pytest.raises(UnavailableError):
                await client.resolve("u")


async def test_a_caller_without_a_certificate_is_not_served(database: Path, authority: Authority, api: str) -> None:
    files = authority.issue("127.0.0.1", client_ca=authority.ca)
    async with (
        serving(database, tls=Certificates(files)) as running,
        client_of(api, running.address, tls=Tls(authority.ca), retries=0) as client,
    ):
        with pytest.raises(UnavailableError):
            await client.resolve("u")


async def test_a_server_may_have_a_certificate_for_another_name(database: Path, authority: Authority, api: str) -> None:
    async with serving(database, tls=Certificates(authority.issue(NAME))) as running:
        async with client_of(api, running.address, tls=Tls(authority.ca, server_name=NAME)) as client:
            assert not (await client.resolve("u")).found
        async with client_of(api, running.address, tls=Tls(authority.ca), retries=0) as client:
            with pytest.raises(UnavailableError):
                await client.resolve("u")


def test_files_of_tls_that_cannot_be_used_are_told_of_at_once(authority: Authority, tmp_path: Path) -> None:
    shown, other = authority.issue("caller"), authority.issue("other")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for kind in (AsyncClient, Client):
        for tls in (
            Tls(authority.ca, cert=shown.cert),
            Tls(authority.ca, key=shown.key),
            Tls(rubbish),
            Tls(authority.ca, shown.cert, other.key),
        ):
            with pytest.raises(ValueError, match="Tls: "):
                kind(SOMEWHERE, api_key=KEY, tls=tls)
        with pytest.raises(FileNotFoundError):
            kind(SOMEWHERE, api_key=KEY, tls=Tls(tmp_path / "nowhere.pem"))


def test_a_key_that_is_encrypted_is_told_of_and_no_password_is_asked_for(authority: Authority, tmp_path: Path) -> None:
    shown, encrypted = authority.issue("caller"), tmp_path / "encrypted.key"
    key = load_pem_private_key(Path(shown.key).read_bytes(), None)
    form = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    encrypted.write_bytes(key.private_bytes(*form))
    with pytest.raises(ValueError, match="the key must not be encrypted"):
        Client(SOMEWHERE, api_key=KEY, tls=Tls(authority.ca, shown.cert, encrypted))


@pytest.mark.skipif(not LONG, reason="a connection's pings take half a minute: AKA_TEST_LONG=1")
async def test_a_server_that_vanished_is_noticed_before_the_deadline(tmp_path: Path, api: str) -> None:
    with serving_process(cwd=tmp_path) as frozen:
        async with client_of(api, frozen.address, retries=0, api_key=PROCESS_KEY, timeout=60) as client:
            await client.resolve("u")
            frozen.process.send_signal(signal.SIGSTOP)
            with pytest.raises(UnavailableError):
                await client.resolve("u")


async def test_one_client_serves_many_threads(server: Workspace) -> None:
    def link(client: Client, number: int) -> str:
        return client.alias(f"u{number}", f"a{number}", create_missing=True).outcome

    with Client(server.address, api_key=server.key) as client:
        outcomes = await asyncio.gather(*(asyncio.to_thread(link, client, number) for number in range(20)))
    assert outcomes == ["CREATED"] * 20


async def test_calls_belong_to_the_callers_trace(database: Path, api: str) -> None:
    recorded = Recorded()
    async with (
        serving(database, spans=recorded.spans) as running,
        client_of(api, running) as client,
    ):
        with TracerProvider().get_tracer("caller").start_as_current_span("caller") as span:
            await client.resolve("u")
    assert trace_of(recorded.one("Resolve")) == f"{span.get_span_context().trace_id:032x}"


BASE_INSTALL = """
import sys
absent = ["aka.server", "click", "grpc_health", "grpc_reflection", "grpc_tools", "opentelemetry", "structlog"]
sys.modules |= dict.fromkeys(absent)
from aka.client import Client
with Client(sys.argv[1], api_key=sys.argv[2]) as client:
    print(client.resolve("u").user_id)
files = {name.partition(".")[0]: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(*(name for name, file in files.items() if file and "site-packages" in file))
"""


async def test_the_base_install_is_all_that_it_takes(server: Workspace) -> None:
    async with AsyncClient(server.address, api_key=server.key) as client:
        await client.identify("u")
    command = [sys.executable, "-c", BASE_INSTALL, server.address, server.key]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    answer, imported = ran.stdout.splitlines()
    assert answer == "u"
    assert set(imported.split()) <= {"google", "grpc", "typing_extensions", "_distutils_hack"}
