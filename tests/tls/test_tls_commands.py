"""TLS in the `aka` command: its settings, and the commands that call a server."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from aka.server.addresses import is_local
from aka.server.config import SettingsError, read_settings
from aka.server.tls import TlsFiles
from tests.cli.command import KEY, Serving, aka, environment, linked, pasted, serving
from tests.tls.authority import NAME, Authority

ENCRYPTED: Final = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg8IgbG7RBplAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEENR5dNKVDRpONe0418twLaAEgZCH
qTJedFPI5UgSLnJgCI+BO04mcpjj5h4q0zlKxTgJw/laklGvmyvDd+7TtUQqZd8S
+Z7Ev3dJj0YcK1RZ3z0cj5ai504LCibzvPBDuxUEpKDjHRa9SlKa85Kbgg/rYLMD
vN5ZwiP5ZF3pCGE7/ZPSZJlhPq6wLdkDfoT3m9Il99XBOpA5iIodvgkUoZ41KI0=
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def settings(files: TlsFiles) -> dict[str, str]:
    """Return the settings of a server, for `serving` and `environment`."""
    return {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": files.client_ca or ""}


def of_served(authority: Authority) -> dict[str, str]:
    """Return the settings of `served`."""
    return settings(TlsFiles(f"{authority.folder}/{NAME}.pem", f"{authority.folder}/{NAME}.key", None))


@pytest.fixture(scope="module")
def served(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with TLS that is called by another name than its certificate's."""
    files = settings(authority.issue()) | {"rest_address": "127.0.0.1:0"}
    with serving("--log-format", "text", cwd=tmp_path_factory.mktemp("served"), settings=files) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with mutual TLS that is called by its certificate's name."""
    files = settings(authority.issue("127.0.0.1", client_ca=authority.ca))
    with serving(cwd=tmp_path_factory.mktemp("mutual"), settings=files) as server:
        yield server


def is_served_by(authority: Authority, address: str) -> bool:
    """Whether a server's certificate is from an authority."""
    context = ssl.create_default_context(cafile=authority.ca)
    context.check_hostname = False
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        try:
            context.wrap_socket(plain).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


def reading(**files: str) -> list[str]:
    """Return what is wrong with some settings."""
    try:
        read_settings({f"AKA_{name.upper()}": text for name, text in files.items()}, {})
    except SettingsError as error:
        return error.problems
    return []


def test_a_certificate_with_its_key_and_authorities_can_be_served_with(authority: Authority) -> None:
    assert reading(**settings(authority.issue())) == []
    assert reading(**settings(authority.issue(client_ca=authority.ca))) == []


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("tls_cert", ["AKA_TLS_KEY: it is needed where AKA_TLS_CERT is set"]),
        ("tls_key", ["AKA_TLS_CERT: it is needed where AKA_TLS_KEY is set"]),
        ("tls_client_ca", [f"AKA_TLS_{one}: it is needed where AKA_TLS_CLIENT_CA is set" for one in ("CERT", "KEY")]),
    ],
)
def test_one_file_of_tls_needs_the_others(authority: Authority, given: str, missing: list[str]) -> None:
    assert reading(**{given: settings(authority.issue(client_ca=authority.ca))[given]}) == missing


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tls_cert", "nothing", "it has no certificate in PEM"),
        ("tls_key", "nothing", "it has no private key in PEM, or an encrypted one"),
        ("tls_client_ca", "nothing", "it has no certificate in PEM"),
        ("tls_key", "encrypted", "it has no private key in PEM, or an encrypted one"),
        ("tls_key", "another's", "it is the key of another certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    authority: Authority, tmp_path: Path, name: str, text: str, why: str
) -> None:
    wrong = tmp_path / "wrong.pem"
    match text:
        case "encrypted":
            wrong.write_text(ENCRYPTED)
        case "another's":
            wrong.write_bytes(Path(authority.issue("another").key).read_bytes())
        case _:
            wrong.write_text(text)
    given = settings(authority.issue("file", client_ca=authority.ca)) | {name: str(wrong)}
    assert reading(**given) == [f"AKA_{name.upper()}: {wrong}: {why}"]


def test_files_of_tls_that_cannot_be_read_are_told_of_with_all_other_wrong_settings(tmp_path: Path) -> None:
    problems = reading(tls_cert="/missing/cert", tls_key=str(tmp_path), tls_client_ca="/missing/ca", grace="soon")
    assert [problem.split(":")[0] for problem in problems] == [
        "AKA_GRACE",
        "AKA_TLS_CERT",
        "AKA_TLS_KEY",
        "AKA_TLS_CLIENT_CA",
    ]


def test_health_finds_the_server_whose_certificate_it_has(served: Serving, authority: Authority) -> None:
    env = environment(grpc_address=served.address, **of_served(authority))
    ended = aka("health", cwd=authority.folder, env=env)
    assert (ended.code, ended.out, ended.err) == (0, "SERVING\n", "")


def test_health_does_not_trust_a_server_with_another_certificate(mutual: Serving, authority: Authority) -> None:
    env = environment(grpc_address=mutual.address, **of_served(authority))
    ended = aka("health", "--timeout", "10", cwd=authority.folder, env=env)
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)


@pytest.mark.parametrize("shown", ["a certificate", "none"])
def test_health_shows_its_certificate_to_a_server_that_asks_for_one(
    mutual: Serving, authority: Authority, shown: str
) -> None:
    arguments = ["--server", mutual.address, "--server-ca", authority.ca]
    if shown == "a certificate":
        files = authority.issue("caller")
        arguments += ["--client-cert", files.cert, "--client-key", files.key]
    ended = aka("health", *arguments, cwd=authority.folder)
    assert (ended.code, ended.out) == ((0, "SERVING\n") if shown == "a certificate" else (1, ""))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"client_cert": "cert"}, "AKA_CLIENT_KEY"),
        ({"client_cert": "cert", "client_key": "key"}, "AKA_SERVER_CA"),
        ({"server_ca": "/missing/ca"}, "/missing/ca"),
        ({"tls_cert": "/missing/cert"}, "/missing/cert"),
    ],
)
def test_health_ends_with_2_and_one_line_where_files_are_missing(
    tmp_path: Path, given: dict[str, str], named: str
) -> None:
    ended = aka("health", cwd=tmp_path, env=environment(**given))
    assert (ended.code, ended.out, len(ended.errors)) == (2, "", 1)
    assert named in ended.err


def test_the_lines_to_paste_work_with_tls(served: Serving, tmp_path: Path) -> None:
    assert linked(pasted(served.stderr, tmp_path, AKA_BOOTSTRAP_API_KEY=KEY))


def test_the_log_says_when_the_certificate_ends(served: Serving) -> None:
    assert "expires='Jan  1 00:00:00 3000 GMT'" in served.stderr


def test_a_gateway_serves_with_tls_and_calls_its_target_with_mutual_tls(
    mutual: Serving, authority: Authority, tmp_path: Path
) -> None:
    caller = authority.issue("gateway")
    given = settings(authority.issue("127.0.0.1"))
    given |= {"rest_address": "127.0.0.1:0", "server_ca": authority.ca}
    given |= {"client_cert": caller.cert, "client_key": caller.key}
    with (
        serving("--target", mutual.address, cwd=tmp_path, settings=given, command="gateway") as gateway,
        httpx.Client(verify=ssl.create_default_context(cafile=authority.ca), trust_env=False) as client,
    ):
        assert client.get(f"https://{gateway.rest}/readyz").status_code == 200


def test_a_running_server_takes_a_new_certificate(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    files = authority.issue("renewed")
    with serving(cwd=tmp_path, settings=settings(files) | {"rest_address": "127.0.0.1:0"}) as server:
        new = other.issue()
        Path(files.cert).write_bytes(Path(new.cert).read_bytes())
        Path(files.key).write_bytes(Path(new.key).read_bytes())
        for address in (server.address, server.rest):
            while is_served_by(authority, address):  # looks at its files every other second
                time.sleep(0.1)
            assert is_served_by(other, address)


@pytest.mark.parametrize("address", ["unix:/run/aka.sock", "127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_an_address_that_only_this_machine_reaches_is_local(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "aka.example.com:1", "[2001:db8::1]:1"])
def test_an_address_that_other_machines_reach_is_not_local(address: str) -> None:
    assert not is_local(address)


def warnings(server: Serving) -> list[Any]:
    logged = [json.loads(line) for line in server.stderr.splitlines()]
    return [line for line in logged if line["level"] == "warning"]


def test_an_address_on_a_network_without_tls_is_warned_of(tmp_path: Path) -> None:
    loopback_but_not_by_its_text = "127.1:0"
    with serving(cwd=tmp_path, settings={"rest_address": loopback_but_not_by_its_text}) as server:
        assert [(line["event"].split()[0], line["rest"]) for line in warnings(server)] == [("without", server.rest)]


def test_a_gateway_warns_of_a_target_on_a_network_without_tls(tmp_path: Path) -> None:
    given = {"rest_address": "127.0.0.1:0"}
    with serving("--target", "aka.invalid:50051", cwd=tmp_path, settings=given, command="gateway") as gateway:
        assert [line["target"] for line in warnings(gateway)] == ["aka.invalid:50051"]
