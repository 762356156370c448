"""The three documents' own examples, run as they stand but for host and key."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.cli.command import KEY, Serving, identify, serving
from tests.docs.pages import blocks

APPIZER: Final = {block.heading: block.text for block in blocks("tests/documents/appizer.md")}
ALTERTABLE: Final = {block.heading: block.text for block in blocks("tests/documents/altertable.md")}
BRAZE: Final = {block.heading: block.text for block in blocks("tests/documents/braze.md")}

HOST: Final = re.compile(r"https://(?:api\.appizer\.com|api\.altertable\.ai|YOUR_REST_API_URL)")

PROGRAMS: Final = {".mjs": "node", ".py": sys.executable, ".sh": "sh"}

SDK: Final = """
import requests
class client:
    def alias(**given):
        sent = {"environment": "production", "timestamp": "2026-11-24T22:00:00.000Z", **given}
        print(requests.post("https://api.altertable.ai/alias", headers={"X-API-Key": "YOUR_API_KEY"}, json=sent).text)
"""
"""What stands for Altertable's SDK: it posts what it is given, beside its environment and the time."""

CREATED: Final = {"aliases_processed": 1, "message": "success"}
"""Braze's answer to one item that went well."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    """A server of its own for each example, so that each finds nothing done."""
    settings = {"database_url": "sqlite:///:memory:", "rest_address": "127.0.0.1:0"}
    with serving(cwd=tmp_path, settings=settings) as started:
        yield started


@pytest.fixture
def user(server: Serving) -> str:
    """The examples' user, who is known."""
    server.call("Identify", identify("user_123"))
    return "user_123"


def here(example: str, server: Serving) -> str:
    """Return an example with our host and key in place of its own."""
    ours, hosts = HOST.subn(f"http://{server.rest}", example)
    assert hosts == 1
    return ours.replace("YOUR_API_KEY", KEY)


def printed(example: str, ending: str, server: Serving, folder: Path) -> str:
    """Run an example from a file of this ending, and return what it prints."""
    for needed in (PROGRAMS[ending], *(["curl"] if ending == ".sh" else [])):
        if shutil.which(needed) is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {needed}")
    file = (folder / "example").with_suffix(ending)
    file.write_text(here(example, server), encoding="utf-8")
    ran = subprocess.run([PROGRAMS[ending], file], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def posted(path: str, body: Any, server: Serving) -> tuple[int, Any]:
    """Post a body and return the answer's status and JSON."""
    answer = httpx.post(f"http://{server.rest}{path}", json=body, trust_env=False)
    return answer.status_code, answer.json()


def filled(body: str, **values: Any) -> Any:
    """Return one of Braze's bodies, with values in place of what it says of them."""
    said = re.sub(r"^ *//.*\n", "", body, flags=re.MULTILINE)
    json_text = re.sub(
        r'"(\w+)" : \([^)]*\)[^,\n]*', lambda field: f'"{field[1]}": {json.dumps(values[field[1]])}', said
    )
    return json.loads(json_text)


def whose(server: Serving, *identifiers: Any) -> list[str | None]:
    """Return the primary id of each identifier's profile, None where it is nobody's or has none."""
    answer = server.call("Resolve", {"identifiers": [{"id": i} if isinstance(i, str) else i for i in identifiers]})
    return [resolution.get("user_id") for resolution in answer["resolutions"]]


def test_appizers_curl_example_is_answered_as_documented(server: Serving, user: str, tmp_path: Path) -> None:
    answer = json.loads(printed(APPIZER["cURL"], ".sh", server, tmp_path))
    assert answer == json.loads(APPIZER["The response"])
    assert whose(server, "legacy_999") == [user]


def test_appizers_python_example_is_answered_as_documented(server: Serving, user: str, tmp_path: Path) -> None:
    answer = ast.literal_eval(printed(APPIZER["Python"], ".py", server, tmp_path))
    assert answer == json.loads(APPIZER["The response"])
    assert whose(server, "legacy_999") == [user]


def test_appizers_javascript_example_is_answered_as_documented(server: Serving, user: str, tmp_path: Path) -> None:
    shown = printed(APPIZER["JavaScript"], ".mjs", server, tmp_path)
    answer = json.loads(re.sub(r"(\w+): ", r'"\1": ', shown).replace("'", '"'))  # Node writes objects as JavaScript
    assert answer == json.loads(APPIZER["The response"])
    assert whose(server, "legacy_999") == [user]


@pytest.mark.parametrize("path", ["/users/aliases", "/v1/users/aliases"])
def test_appizers_body_is_answered_as_documented_at_both_paths(server: Serving, user: str, path: str) -> None:
    body = json.loads(APPIZER["The request's body"])
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"http://{server.rest}{path}", json=body, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()) == (200, json.loads(APPIZER["The response"]))
    assert whose(server, "legacy_999") == [user]


def test_altertables_curl_example_links_the_crm_id(server: Serving, user: str, tmp_path: Path) -> None:
    answer = json.loads(printed(ALTERTABLE["Direct API usage"], ".sh", server, tmp_path))
    assert answer == {"ok": True, "error_code": None}
    assert whose(server, "stripe:cus_abc123") == [user]


def test_altertables_sdk_example_links_the_crm_id(server: Serving, user: str, tmp_path: Path) -> None:
    answer = json.loads(printed(SDK + ALTERTABLE["SDK"], ".py", server, tmp_path))
    assert answer == {"ok": True, "error_code": None}
    assert whose(server, "stripe:cus_abc123") == [user]


def test_brazes_new_alias_body_adds_an_alias_to_an_existing_user(server: Serving, user: str) -> None:
    pair = {"alias_name": "name", "alias_label": "label"}
    new = filled(BRAZE["Endpoint Request Body with New User Alias Object Specification"], external_id=user, **pair)
    body = filled(BRAZE["Request Body"], api_key=KEY, user_aliases=[new])
    assert posted("/users/alias/new", body, server) == (201, CREATED)
    assert whose(server, {"user_alias": pair}) == [user]


def test_brazes_bodies_make_an_alias_only_user_and_identify_it(server: Serving) -> None:
    pair = {"alias_name": "name", "alias_label": "label"}
    new = filled(BRAZE["Endpoint Request Body with New User Alias Object Specification"], external_id="", **pair)
    del new["external_id"]
    body = filled(BRAZE["Request Body"], api_key=KEY, user_aliases=[new])
    assert posted("/users/alias/new", body, server) == (201, CREATED)
    assert whose(server, {"user_alias": pair}) == [None]

    to_identify = filled(BRAZE["Aliases to Identify Object Specification"], external_id="user_123", **pair)
    request = here(BRAZE["New User Identify Request"], server)
    head = re.match(r"POST (\S+)\nContent-Type: (\S+)\n", request)
    assert head is not None
    body = filled(request[head.end() :], api_key=KEY, aliases_to_identify=[to_identify])
    headers = {"Content-Type": head[2]}
    answer = httpx.post(head[1], content=json.dumps(body), headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()) == (201, CREATED)
    assert whose(server, {"user_alias": pair}) == ["user_123"]
