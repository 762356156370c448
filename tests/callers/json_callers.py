"""Callers that take a call as JSON: buf curl over gRPC; curl, requests and fetch over REST."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode

from aka.server.methods import METHODS, SERVICE
from tests.callers.story import CALLS, CHANGE, DEADLINE, UNKNOWN_USER, Refusal, Report, Served, Site
from tests.docs.pages import ROOT

BUF: Final = Path(sys.executable).with_name("buf")
FETCH: Final = ROOT / "tests/callers/node/fetch.mjs"


class Answer(NamedTuple):
    """A call's answer, or the error in its place."""

    ok: bool
    body: Any


Ask = Callable[[Served, str, Any, float | None], Answer]
"""Makes a call: to whom, the method, the body, the deadline in seconds."""


def tell(ask: Ask, site: Site, _: Path, *, over_rest: bool = False) -> Report:
    """Make the calls of the story in one way; over REST those that are no streams."""

    def refused(served: Served, body: Any, timeout: float | None = None) -> Refusal:
        ok, error = ask(served, "Alias", body, timeout)
        assert not ok, f"it was not refused: {error}"
        return refusal(error)

    answers = {}
    for method, body in CALLS.items():
        if METHODS[method].is_unary or not over_rest:
            ok, answers[method] = ask(site.aka, method, body, None)
            assert ok, f"{method}: {answers[method]}"
    return Report(
        answers=answers,
        refusal=refused(site.aka, UNKNOWN_USER),
        late=refused(site.locked, CHANGE, DEADLINE),
        unavailable=refused(site.locked, CHANGE),
        over_rest=over_rest,
    )


def refusal(error: Any) -> Refusal:
    """Read an error as the Connect protocol and buf write it: the code's name, and details in base64."""
    code = StatusCode[error["code"].upper()]
    for detail in error.get("details", []):
        if detail["type"] == ErrorInfo.DESCRIPTOR.full_name:
            info = ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
            return Refusal(code, info.reason, info.domain, dict(info.metadata))
    return Refusal(code)


def buf_curl(schema: Sequence[str], served: Served, method: str, body: Any, timeout: float | None) -> Answer:
    """Call by buf, which knows the contract from where `schema` says."""
    url = f"http://{served.address}/{SERVICE}/{method}"
    key = f"authorization: Bearer {served.key}"
    deadline = [] if timeout is None else ["--timeout", f"{timeout}s"]
    command = [str(BUF), "curl", "--protocol=grpc", "--http2-prior-knowledge", *schema, *deadline]
    messages = "\n".join(json.dumps(message) for message in (body if isinstance(body, list) else [body]))
    ran = subprocess.run([*command, "-H", key, "-d", messages, url], capture_output=True, text=True, timeout=60)
    if ran.returncode != 0:
        return Answer(False, json.loads(ran.stderr))
    answers = documents(ran.stdout)
    return Answer(True, answers if METHODS[method].gives_stream else answers[0])


def documents(text: str) -> list[Any]:
    """Return the JSON documents that stand one behind another."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def _posted(served: Served, method: str, timeout: float | None) -> tuple[str, dict[str, str]]:
    """Return the URL and the headers of a call over REST."""
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"}
    if timeout is not None:
        headers["Connect-Timeout-Ms"] = f"{timeout * 1000:.0f}"
    return f"http://{served.rest}/{SERVICE}/{method}", headers


def curl(served: Served, method: str, body: Any, timeout: float | None) -> Answer:
    """Call by curl."""
    url, headers = _posted(served, method, timeout)
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "-w", r"\n%{http_code}", *given, "-d", json.dumps(body), url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answer, status = ran.stdout.rsplit("\n", 1)
    return Answer(status == "200", json.loads(answer))


def by_requests(served: Served, method: str, body: Any, timeout: float | None) -> Answer:
    """Call by Python's requests."""
    url, headers = _posted(served, method, timeout)
    answer = requests.post(url, headers=headers, json=body, timeout=60)
    return Answer(answer.ok, answer.json())


def fetch(served: Served, method: str, body: Any, timeout: float | None) -> Answer:
    """Call by JavaScript's fetch."""
    url, headers = _posted(served, method, timeout)
    call = json.dumps({"url": url, "headers": headers, "body": body})
    ran = subprocess.run(["node", FETCH, call], capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(ran.stdout)
    return Answer(answer["status"] == 200, answer["body"])


JSON_CALLERS: Final[dict[str, Callable[[Site, Path], Report]]] = {
    "buf curl, by reflection": partial(tell, partial(buf_curl, ())),
    "buf curl, by the proto file": partial(tell, partial(buf_curl, ("--schema", str(ROOT / "protos")))),
    "curl": partial(tell, curl, over_rest=True),
    "requests": partial(tell, by_requests, over_rest=True),
    "fetch": partial(tell, fetch, over_rest=True),
}
