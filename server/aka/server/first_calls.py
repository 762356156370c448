"""The lines that a new operator can paste to make the first calls."""

import sys
from pathlib import Path
from shlex import quote

_CALLS = (
    ("Identify", '{"aliases_to_identify": [{"external_id": "user_123"}]}'),
    ("Alias", '{"user_id": "user_123", "alias_id": "legacy_999"}'),
    ("Resolve", '{"identifiers": [{"id": "legacy_999"}]}'),
)


def how_to_call(address: str, key: str) -> str:
    """Return shell lines that make, link and look up a user at `address`; `key` is what the shell takes for a key."""
    beside = Path(sys.executable).with_name("buf")
    buf = quote(str(beside)) if beside.exists() else "buf"
    lines = ["", "In another terminal, as pasted:", "", f'  AKA_KEY="{key}"']
    if address.startswith("unix:"):
        url, over = "http://localhost/aka.v1.AliasService", f" --unix-socket {quote(address.removeprefix('unix:'))}"
    else:
        url, over = f"http://{address}/aka.v1.AliasService", ""
    lines += [
        f'  {buf} curl --protocol grpc --http2-prior-knowledge{over} -H "authorization: Bearer $AKA_KEY"'
        f" -d '{body}' {url}/{method}"
        for method, body in _CALLS
    ]
    return "\n".join([*lines, ""])
