"""The error tables of docs/rest.md: what each row tells of is provoked, and the answer compared with the one shown."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio
from google.rpc import code_pb2

from aka.server import rest_connection
from aka.server.errors import PREFIX, STATUS, AkaError
from aka.server.gateway import altertable, appizer, body, calls
from aka.server.store import group
from aka.v1 import alias_service_pb2 as v1
from tests.docs.pages import VARIES, code, table
from tests.gateway.served import CONNECT, ENDPOINTS, Gateway
from tests.gateway.test_gateway_sockets import connected, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

Causes = Sequence[tuple[str, Any]]
"""A path for each row of a table, and the body, or the word of `Scene.answer`, that brings the row's answer."""

PAGE: Final = "docs/rest.md"

ALIASES: Final = "/v1/users/aliases"
ALIAS: Final = f"{CONNECT}/Alias"
NEW: Final = "/users/alias/new"
IDENTIFY: Final = "/users/identify"

TRACK: Final = "/users/track"

GOOD: Final = ENDPOINTS | {ALIAS: {"user_id": "user_123", "alias_id": "legacy_999"}}

KNOWN: Final = {"alias_name": "device-7", "alias_label": "kiosk"}
"""A user alias of user_456."""
ALIAS_ONLY: Final = {"alias_name": "device-8", "alias_label": "kiosk"}


PURCHASE: Final = {"external_id": "user_123", "product_id": "hat", "currency": "EUR", "price": 9.5}
MUCH: Final = {f"attr-{number}": "x" * 7996 for number in range(9)}
"""Attributes of 72,036 bytes, names and JSON."""


class Answer(NamedTuple):
    status: int
    body: Any


class Scene(NamedTuple):
    """A gateway where `user_123` and `user_456` are known, one with a limit and one without a store."""

    gateway: Gateway
    limited: Gateway
    closed: Gateway
    patch: pytest.MonkeyPatch

    async def answer(self, path: str, cause: Any) -> Answer:
        """Send a body that is refused; or a good one, after what a word for it says."""
        if not isinstance(cause, str):
            return await posted(self.gateway, path, cause)
        by = self.gateway
        match cause:
            case "no key":
                by = by.with_key(None)
            case "an unknown key":
                by = by.with_key("no-key-of-this-server")
            case "a revoked key":
                by = by.with_key(by.server.add_key("aliases.write", workspace=by.workspace, revoked_at=1))
            case "a reader's key":
                by = by.with_only("profiles.read")
            case "a limit used up":
                by = self.limited
                await by.use_up()
            case "a crowd":
                self.patch.setattr(group, "MAX_WAITING", 0)
            case "a closed store":
                by = self.closed
            case "a deadline":
                self.patch.setattr(calls, "MAX_SECONDS", 0.05)
                by.trouble.holding = True
            case "a clash":
                by.trouble.next = AkaError(v1.ERROR_REASON_CONFLICT, "Repeat it")
            case "a bug":
                by.trouble.next = RuntimeError()
            case "a full profile":
                await fill(by)
            case "another method":
                return await sent(by, "GET", path)
            case "another content type":
                return await sent(by, "POST", path, b"{}", content_type="text/plain")
            case "a large body":
                return await sent(by, "POST", path, b" " * (body.MAX_BYTES + 1))
            case "a large head":
                return await sent(by, "POST", path, b"{}", x="x" * rest_connection.MAX_HEAD)
            case "a slow body":
                self.patch.setattr(body, "MAX_SECONDS", 0.1)
                async with connected(by) as connection:
                    connection.send(post(by, "content-length: 2", path=path), b"{")
                    slow = await connection.answer()
                return Answer(slow.status, json.loads(slow.content.replace(b"within 0 s", b"within 10 s")))
            case _:
                raise AssertionError(cause)
        return await posted(by, path, GOOD[path])


@pytest_asyncio.fixture(loop_scope="session")
async def scene(gateway: Gateway, limited: Gateway, closed: Gateway, monkeypatch: pytest.MonkeyPatch) -> Scene:
    await gateway.identified("user_123", "user_456")
    await gateway.done("CreateAliases", {"user_aliases": [{"external_id": "user_456"} | KNOWN, ALIAS_ONLY]})
    return Scene(gateway, limited, closed, monkeypatch)


async def sent(by: Gateway, method: str, path: str, content: bytes | None = None, **headers: str) -> Answer:
    answer = await by.send(method, path, content, **headers)
    return Answer(answer.status_code, answer.json())


async def posted(by: Gateway, path: str, value: Any) -> Answer:
    answer = await by.post(path, value)
    return Answer(answer.status_code, answer.json())


async def fill(gateway: Gateway) -> None:
    """Give user_123 all the identifiers that a profile may have."""
    links = [{"user_id": "user_123", "alias_id": f"alias_{number}"} for number in range(999)]
    for first in range(0, len(links), 100):
        await gateway.done("BatchAlias", {"requests": links[first : first + 100]})


def rows(heading: str, causes: Causes) -> pytest.MarkDecorator:
    """Run a test for each row of a table, with the path and the cause of what the row shows."""
    cases = [
        pytest.param(row, path, cause, id=" ".join(row[:2]))
        for row, (path, cause) in zip(table(PAGE, heading), causes, strict=True)
    ]
    return pytest.mark.parametrize(("row", "path", "cause"), cases)


def check_shown(cell: str, body: Any) -> None:
    """Hold a body against the one that a cell shows."""
    shown, answered = (json.loads(VARIES.sub("<>", text)) for text in (cell.strip("`"), json.dumps(body)))
    assert answered == shown


APPIZER: Final[Causes] = (
    (ALIASES, {"user_id": "user_123"}),
    (ALIASES, {"user_id": 123, "alias_id": "legacy_999"}),
    (ALIASES, {"user_id": "user_123", "alias_id": "null"}),
    (ALIASES, "no key"),
    (ALIASES, "an unknown key"),
    (ALIASES, "a revoked key"),
    (ALIASES, "a reader's key"),
    (ALIASES, {"user_id": "user_999", "alias_id": "legacy_999"}),
    ("/v2/users", {}),
    ("/v1/users", "another method"),
    (ALIASES, "a slow body"),
    (ALIASES, {"user_id": "user_123", "alias_id": "user_456"}),
    ("/v1/users", {"user_id": "user_123", "properties": MUCH}),
    (ALIASES, "a large body"),
    (ALIASES, "another content type"),
    (ALIASES, "a limit used up"),
    (ALIASES, "a large head"),
    (ALIASES, "a bug"),
    (ALIASES, "a crowd"),
)
ALTERTABLE: Final[Causes] = (
    ("/alias", {"distinct_id": "user_123"}),
    ("/alias", {"distinct_id": "user_123", "alias_id": "crm:1", "environment": "staging"}),
    ("/alias", "a full profile"),
    ("/alias", "an unknown key"),
    ("/alias", "a reader's key"),
    ("/alias", "a slow body"),
    ("/alias", "a large body"),
    ("/alias", "another content type"),
    ("/alias", "a limit used up"),
    ("/alias", "a large head"),
    ("/alias", "a bug"),
    ("/alias", "a crowd"),
)
BRAZE: Final[Causes] = (
    (NEW, {"user_aliases": [ALIAS_ONLY] * 51}),
    (TRACK, {"events": [{"external_id": "user_123"}]}),
    (NEW, "an unknown key"),
    (NEW, "a reader's key"),
    (NEW, "a slow body"),
    (NEW, "a large body"),
    (NEW, "another content type"),
    (NEW, "a limit used up"),
    (NEW, "a large head"),
    (NEW, "a bug"),
    (NEW, "a crowd"),
)
BRAZE_ITEMS: Final[Causes] = (
    (NEW, {"user_aliases": [{"alias_name": "device-9"}]}),
    (NEW, {"user_aliases": [{"alias_name": "\a", "alias_label": "kiosk"}]}),
    (IDENTIFY, {"aliases_to_identify": [{"external_id": "null", "user_alias": ALIAS_ONLY}]}),
    (NEW, {"user_aliases": [{"external_id": "user_999", "alias_name": "device-9", "alias_label": "kiosk"}]}),
    (
        IDENTIFY,
        {
            "aliases_to_identify": [
                {"external_id": "user_123", "user_alias": {"alias_name": "device-9", "alias_label": "kiosk"}}
            ]
        },
    ),
    (NEW, {"user_aliases": [{"external_id": "user_123"} | KNOWN]}),
    (IDENTIFY, {"aliases_to_identify": [{"external_id": "user_123", "user_alias": KNOWN}]}),
    (NEW, {"user_aliases": [{"external_id": "user_456", "alias_name": "device-9", "alias_label": "kiosk"}]}),
    (NEW, {"user_aliases": [{"external_id": "user_123", "alias_name": "device-9", "alias_label": "kiosk"}]}),
    (TRACK, {"purchases": [PURCHASE | {"price": "9.50"}]}),
    (TRACK, {"events": [{"external_id": "user_123", "name": "opened", "time": "yesterday"}]}),
    (TRACK, {"purchases": [PURCHASE | {"currency": "XYZ"}]}),
    (TRACK, {"attributes": [{"external_id": "user_123", "": 1}]}),
    (TRACK, {"attributes": [{"external_id": "user_123", "bio": "x" * 8193}]}),
    (TRACK, {"attributes": [{"user_alias": KNOWN | {"alias_name": "device-9"}}]}),
    (TRACK, {"attributes": [{"external_id": "user_123"} | MUCH]}),
)
PROTOCOL: Final[Causes] = (
    (ALIAS, {"user_id": "user_123"}),
    (ALIAS, {"user_id": "user_999", "alias_id": "legacy_999"}),
    (ALIAS, {"user_id": "user_123", "alias_id": "user_456", "merge_policy": "MERGE_POLICY_NEVER"}),
    (ALIAS, {"user_id": "user_123", "alias_id": "user_456"}),
    (ALIAS, "an unknown key"),
    (ALIAS, "a reader's key"),
    (ALIAS, "a limit used up"),
    (ALIAS, "a clash"),
    (ALIAS, "a closed store"),
    (ALIAS, "a deadline"),
    (ALIAS, "a bug"),
    (f"{CONNECT}/Nothing", {}),
    (ALIAS, "a slow body"),
    (ALIAS, "a large body"),
    (ALIAS, "another content type"),
    (ALIAS, "a large head"),
)


@rows("### Appizer's errors", APPIZER)
async def test_appizers_errors_are_as_shown(scene: Scene, row: list[str], path: str, cause: Any) -> None:
    answer = await scene.answer(path, cause)
    status, shown_code, _, shown = row
    assert (str(answer.status), [answer.body["code"]]) == (status, code(shown_code))
    check_shown(shown, answer.body)


@rows("### Altertable's errors", ALTERTABLE)
async def test_altertables_errors_are_as_shown(scene: Scene, row: list[str], path: str, cause: Any) -> None:
    answer = await scene.answer(path, cause)
    status, shown_code, _, shown = row
    assert (str(answer.status), [answer.body["error_code"]]) == (status, code(shown_code))
    check_shown(shown, answer.body)


@rows("### Braze's errors", BRAZE)
async def test_brazes_errors_are_as_shown(scene: Scene, row: list[str], path: str, cause: Any) -> None:
    answer = await scene.answer(path, cause)
    status, _, shown = row
    assert str(answer.status) == status
    check_shown(shown, answer.body)


@rows("### Errors of Braze's items", BRAZE_ITEMS)
async def test_the_errors_of_brazes_items_are_as_shown(scene: Scene, row: list[str], path: str, cause: Any) -> None:
    when, shown = row
    if when == "the user has too many identifiers":
        await fill(scene.gateway)
    (array,) = cause
    answer = await scene.answer(path, cause)
    assert answer.status == (400 if path == TRACK else 201)
    assert answer.body["errors"] == [{"type": shown.strip("`"), "input_array": array, "index": 0}]


@rows("### The protocol's errors", PROTOCOL)
async def test_the_protocols_errors_are_as_shown(scene: Scene, row: list[str], path: str, cause: Any) -> None:
    answer = await scene.answer(path, cause)
    status, shown_code, reasons, message = row
    assert (str(answer.status), [answer.body["code"]]) == (status, code(shown_code))
    infos = [detail["debug"] for detail in answer.body.get("details", ()) if detail["type"] == "google.rpc.ErrorInfo"]
    assert {info["reason"] for info in infos} <= set(code(reasons))
    if code(message):
        assert [answer.body["message"]] == code(message)


async def test_every_code_of_a_dialect_has_its_row() -> None:
    assert {code(row[1])[0] for row in table(PAGE, "### Appizer's errors")} == {
        *appizer.CODES.values(),
        *appizer.CODES_BY_STATUS.values(),
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
    }
    assert {code(row[1])[0] for row in table(PAGE, "### Altertable's errors")} == {
        *altertable.CODES.values(),
        "environment-not-found",
    }


async def test_the_protocols_table_has_every_reason_beside_its_code() -> None:
    reasons = defaultdict(list)
    for reason, status in STATUS.items():
        reasons[code_pb2.Code.Name(status).lower()].append(v1.ErrorReason.Name(reason).removeprefix(PREFIX))
    told = {code(row[1])[0]: code(row[2]) for row in table(PAGE, "### The protocol's errors") if row[2] != "-"}
    assert told == reasons
