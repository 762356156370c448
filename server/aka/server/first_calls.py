"""The lines that a new operator can paste to make the first calls."""

import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote

from aka.server.tls import TlsError, TlsFiles, describe

_CALLS = (
    ("Identify", '{"aliases_to_identify": [{"external_id": "user_123"}]}'),
    ("Alias", '{"user_id": "user_123", "alias_id": "legacy_999"}'),
    ("Resolve", '{"identifiers": [{"id": "legacy_999"}]}'),
)


def how_to_call(address: str, rest: str, key: str, tls: TlsFiles | None = None) -> str:
    """Return shell lines that make, link and look up a user at `address`, and where REST is described.

    `rest` is the gateway's address, `-` where there is none; `key` is what the shell takes for a key.
    """
    beside = Path(sys.executable).with_name("buf")
    buf = quote(str(beside)) if beside.exists() else "buf"
    lines = ["", "In another terminal, as pasted:", "", f'  AKA_KEY="{key}"']
    host, over = address, ""
    if address.startswith("unix:"):
        host, over = "localhost", f" --unix-socket {quote(address.removeprefix('unix:'))}"
    scheme, trust = ("http", "--http2-prior-knowledge") if tls is None else ("https", _trust(tls))
    lines += [
        f'  {buf} curl --protocol grpc {trust}{over} -H "authorization: Bearer $AKA_KEY"'
        f" -d '{body}' {scheme}://{host}/aka.v1.AliasService/{method}"
        for method, body in _CALLS
    ]
    if ":" in rest and not rest.startswith("unix:"):
        lines += ["", f"Over REST, with curl: {scheme}://{rest}/docs"]
    return "\n".join([*lines, ""])


def _trust(tls: TlsFiles) -> str:
    """Return the flags by which buf trusts this very certificate, whatever name the server is called by here."""
    flags = f"--cacert {quote(str(Path(tls.cert).absolute()))}"
    with suppress(TlsError):  # warned of already
        flags += f" --servername {quote(describe(tls.cert, tls.key).name)}"
    return flags if tls.client_ca is None else f"{flags} --cert YOUR_CERTIFICATE --key YOUR_KEY"
