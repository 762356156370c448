"""docs/keys.md: its table, and its commands run as an operator would."""

import json
import os
from pathlib import Path
from typing import Final

import grpc
import httpx

from aka.server.keys import PERMISSIONS
from tests.cli.command import KEY, Serving, serving
from tests.docs.pages import BIN, blocks, code, examples, run, table

PAGE: Final = "docs/keys.md"

ASK: Final = {"identifiers": [{"id": "u"}]}


def commands(heading: str) -> list[str]:
    """Return the shell blocks under a heading."""
    return [block.text for block in blocks(PAGE) if (block.heading, block.language) == (heading, "sh")]


def pasted(command: str, folder: Path, **variables: str) -> str:
    """Run a command in a folder and return what it prints."""
    return run(command, {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | variables, folder)


def is_good(server: Serving, secret: str) -> bool:
    """Whether a key is good, over gRPC and over REST alike."""
    url = f"http://{server.rest}/aka.v1.AliasService/Resolve"
    answer = httpx.post(url, json=ASK, headers={"authorization": f"Bearer {secret}"}, trust_env=False)
    try:
        server.call("Resolve", ASK, secret)
    except grpc.RpcError as error:
        assert (error.code(), answer.status_code) == (grpc.StatusCode.UNAUTHENTICATED, 401)
        return False
    assert answer.status_code == 200
    return True


def test_the_table_tells_every_permission() -> None:
    assert {code(row[0])[0] for row in table(PAGE, "## Permissions")} == PERMISSIONS


def test_a_key_is_created_rotated_and_made_anew_as_told(tmp_path: Path) -> None:
    ((create, shown),) = examples(PAGE)
    create_next, look, revoke = commands("Rotate")
    (make_anew,) = commands("A key that was lost, or stolen")
    with serving(cwd=tmp_path, settings={"rest_address": "127.0.0.1:0"}) as server:
        asking = {"AKA_API_KEY": KEY, "AKA_GRPC_ADDRESS": server.address}
        old, told = json.loads(pasted(create, tmp_path, **asking)), json.loads(shown)
        assert [*old] == [*told]
        assert (old["workspace"], old["permissions"]) == (told["workspace"], told["permissions"])
        pasted(create_next, tmp_path, **asking)
        new = json.loads((tmp_path / "next-key.json").read_text())
        assert new["permissions"] == old["permissions"]
        assert [is_good(server, key["secret"]) for key in (old, new)] == [True, True]
        assert old["id"] in pasted(look, tmp_path, **asking)
        pasted(revoke, tmp_path, **asking, OLD_KEY_ID=old["id"])
        assert [is_good(server, key["secret"]) for key in (old, new)] == [False, True]
        assert server.stop().code == 0
    made = pasted(make_anew, tmp_path)
    assert "operator" in made
    assert "aka_" in made
