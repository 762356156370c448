"""Every RPC as JSON: the Connect protocol's unary form."""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status

from aka.server.errors import STATUS, AkaError
from aka.server.gateway import connect
from aka.server.gateway.refusal import Refusal
from aka.server.methods import METHODS
from aka.v1 import alias_service_pb2 as v1
from tests.gateway.served import CONNECT, Gateway, as_json
from tests.grpc.wire import UNKNOWN_UUID

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLS: dict[str, Any] = {
    "Alias": {"user_id": "user_123", "alias_id": "new"},
    "BatchAlias": {"requests": [{"user_id": "user_123", "alias_id": "new"}]},
    "CreateAliases": {"user_aliases": [{"alias_label": "crm", "alias_name": "1"}]},
    "Identify": {"aliases_to_identify": [{"external_id": "user_456"}]},
    "Resolve": {"identifiers": [{"id": "user_123"}]},
    "GetProfile": {"identifier": {"id": "user_123"}},
    "DeleteAlias": {"id": "legacy_999"},
    "Track": {"events": [{"external_id": "user_123", "name": "seen"}]},
    "ExportProfiles": {"profiles": [{"id": "user_123"}]},
}
"""A good call of every RPC, where user_123 has the alias legacy_999."""


@pytest_asyncio.fixture(loop_scope="session")
async def known(gateway: Gateway) -> Gateway:
    """A gateway that knows user_123, also as legacy_999."""
    await gateway.identified("user_123")
    await gateway.done("Alias", {"user_id": "user_123", "alias_id": "legacy_999"})
    return gateway


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def camel_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel(name): camel_case(inner) for name, inner in value.items()}
    return [camel_case(inner) for inner in value] if isinstance(value, list) else value


def detail(answer: Any, kind: Any) -> Any:
    """Return the error detail of a kind, decoded as a client would: from unpadded base64."""
    (value,) = [shown["value"] for shown in answer["details"] if shown["type"] == kind.DESCRIPTOR.full_name]
    return kind.FromString(base64.b64decode(value + "=" * (-len(value) % 4), validate=True))


STREAMS = [name for name, method in METHODS.items() if not method.is_unary]


async def test_calls_has_every_rpc_that_is_no_stream() -> None:
    assert CALLS.keys() == METHODS.keys() - STREAMS == connect.SERVICES["aka.v1.AliasService"].keys()


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_is_told_to_be_for_grpc(gateway: Gateway, method: str) -> None:
    answer = await gateway.call(method, {})
    assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
    assert answer.json()["message"] == f"{method} is a stream, which only gRPC serves"


@pytest.mark.parametrize("method", CALLS)
async def test_every_rpc_answers_json(known: Gateway, method: str) -> None:
    answer = await known.call(method, CALLS[method])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    json_format.ParseDict(answer.json(), METHODS[method].response())


@pytest.mark.parametrize("method", CALLS)
async def test_every_rpc_takes_names_in_camel_case(known: Gateway, method: str) -> None:
    answer = await known.call(method, camel_case(CALLS[method]))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("method", CALLS)
async def test_every_rpc_takes_and_answers_protobuf(known: Gateway, method: str) -> None:
    content = json_format.ParseDict(CALLS[method], METHODS[method].request()).SerializeToString()
    answer = await known.send("POST", f"{CONNECT}/{method}", content, content_type="application/proto")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/proto")
    assert METHODS[method].response.FromString(answer.content).ByteSize() > 0


@pytest.mark.parametrize("method", CALLS)
async def test_every_rpc_needs_a_key(gateway: Gateway, method: str) -> None:
    answer = await gateway.with_key(None).call(method, CALLS[method])
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_fields_without_presence_are_printed(known: Gateway) -> None:
    answer = await known.done("Alias", {"user_id": "user_123", "alias_id": "legacy_999"})
    assert sorted(answer) == ["aliasId", "mergedProfileId", "outcome", "profileId", "userId"]
    assert (answer["outcome"], answer["mergedProfileId"]) == ("OUTCOME_ALREADY_LINKED", "")


async def test_what_was_not_found_is_printed_as_false_and_empty(gateway: Gateway) -> None:
    answer = await gateway.done("Resolve", {"identifiers": [{"id": "nobody"}]})
    empty = {"found": False, "profileId": "", "userId": "", "identified": False, "redirectedFrom": ""}
    assert answer == {"resolutions": [empty]}


async def test_times_are_rfc_3339(known: Gateway) -> None:
    profile = (await known.done("GetProfile", {"identifier": {"id": "user_123"}}))["profile"]
    assert profile["createdAt"].endswith("Z")


async def test_enums_are_taken_by_name_and_by_number(known: Gateway) -> None:
    for policy in ("MERGE_POLICY_NEVER", 1):
        await known.call("Alias", {"user_id": "user_123", "alias_id": "x", "merge_policy": policy})
        assert known.trouble.seen[-1].merge_policy == v1.MERGE_POLICY_NEVER


async def test_an_item_that_failed_has_its_error_with_its_details(known: Gateway) -> None:
    answer = await known.done("BatchAlias", {"requests": [{"user_id": "nobody", "alias_id": "a"}]})
    (result,) = answer["results"]
    assert (result["reason"], result["error"]["code"]) == ("ERROR_REASON_USER_NOT_FOUND", 5)
    assert result["error"]["details"][0]["reason"] == "USER_NOT_FOUND"


@pytest.mark.parametrize(
    "body",
    [
        {"unknown": 7},
        {"alias_id": "new", "unknown": {"a": [1, None]}},
        {"unknown": None, "user_id": "user_123"},
    ],
    ids=repr,
)
async def test_unknown_fields_are_ignored(known: Gateway, body: Any) -> None:
    answer = await known.call("Alias", CALLS["Alias"] | body)
    assert answer.status_code == 200


async def test_of_a_duplicate_name_the_last_counts(known: Gateway) -> None:
    content = b'{"user_id":"nobody","user_id":"user_123","alias_id":"first","alias_id":"last"}'
    answer = await known.send("POST", f"{CONNECT}/Alias", content)
    assert (answer.status_code, answer.json()["aliasId"]) == (200, "last")


async def test_a_missing_content_type_is_taken_as_json(known: Gateway) -> None:
    answer = await known.send("POST", f"{CONNECT}/Resolve", as_json(CALLS["Resolve"]))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


async def test_an_error_is_a_code_a_message_and_details(gateway: Gateway) -> None:
    answer = await gateway.call("Alias", {"user_id": "nobody", "alias_id": "a"})
    shown = answer.json()
    assert (answer.status_code, sorted(shown)) == (404, ["code", "details", "message"])
    assert (shown["code"], shown["message"].startswith("No profile has the user_id 'nobody'")) == ("not_found", True)


async def test_an_errors_details_are_messages_in_unpadded_base64(gateway: Gateway) -> None:
    shown = (await gateway.call("Alias", {"user_id": "nobody", "alias_id": "a"})).json()
    info = detail(shown, ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == ("USER_NOT_FOUND", "aka", {"user_id": "nobody"})
    assert not [shown for shown in shown["details"] if shown["value"].endswith("=")]


async def test_an_errors_details_have_the_field_at_fault(gateway: Gateway) -> None:
    shown = (await gateway.call("Resolve", {"identifiers": [{"id": "a"}, {}]})).json()
    assert detail(shown, BadRequest).field_violations[0].field == "identifiers[1].id"


async def test_an_errors_details_have_the_request_id(gateway: Gateway) -> None:
    shown = (await gateway.with_headers(x_request_id="abc").call("Resolve", {})).json()
    assert detail(shown, RequestInfo).request_id == "abc"


async def test_a_refusal_that_made_no_call_has_the_field_and_the_request_id_too(gateway: Gateway) -> None:
    traced = gateway.with_headers(x_request_id="abc")
    shown = (await traced.call("Resolve", {"identifiers": [{"id": 1}]})).json()
    assert detail(shown, BadRequest).field_violations[0].field == "identifiers[0].id"
    assert detail(shown, RequestInfo).request_id == "abc"


async def test_an_answer_is_compact_json_in_utf_8(gateway: Gateway) -> None:
    answer = await gateway.call("Alias", {"user_id": "jürgen", "alias_id": "j", "create_missing": True})
    assert '{"userId":"jürgen",' in answer.text


async def test_an_error_to_a_protobuf_request_is_json(gateway: Gateway) -> None:
    answer = await gateway.send("POST", f"{CONNECT}/Resolve", b"", content_type="application/proto")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["code"] == "invalid_argument"


async def test_malformed_json_is_an_invalid_argument_with_error_info(gateway: Gateway) -> None:
    answer = await gateway.send("POST", f"{CONNECT}/Resolve", b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert detail(answer.json(), ErrorInfo).reason == "INVALID_VALUE"


@pytest.mark.parametrize("content", [b"\xff\xff", b"\x0a\xff", b"\x0a\x02\xed\xa0", b"{}"])
async def test_malformed_protobuf_is_an_invalid_argument(gateway: Gateway, content: bytes) -> None:
    answer = await gateway.send("POST", f"{CONNECT}/Alias", content, content_type="application/proto")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


SPECIFIED = {
    "INVALID_ARGUMENT": ("invalid_argument", 400),
    "NOT_FOUND": ("not_found", 404),
    "ALREADY_EXISTS": ("already_exists", 409),
    "FAILED_PRECONDITION": ("failed_precondition", 400),
    "UNAUTHENTICATED": ("unauthenticated", 401),
    "PERMISSION_DENIED": ("permission_denied", 403),
    "RESOURCE_EXHAUSTED": ("resource_exhausted", 429),
    "ABORTED": ("aborted", 409),
    "UNAVAILABLE": ("unavailable", 503),
    "DEADLINE_EXCEEDED": ("deadline_exceeded", 504),
    "INTERNAL": ("internal", 500),
}
"""The code and the HTTP status of each of the contract's statuses, as the protocol's public specification has them."""


@pytest.mark.parametrize("reason", [v1.ErrorReason.Name(reason) for reason in STATUS])
async def test_every_reason_has_the_code_and_http_status_of_the_specification(gateway: Gateway, reason: str) -> None:
    error = AkaError(v1.ErrorReason.Value(reason), "Refused")
    gateway.trouble.next = error
    answer = await gateway.call("Alias", CALLS["Alias"])
    expected = SPECIFIED[code_pb2.Code.Name(error.status)]
    assert (answer.json()["code"], answer.status_code) == expected
    assert detail(answer.json(), ErrorInfo).reason == error.name


@pytest.mark.parametrize(
    ("name", "status"), [("canceled", 499), ("unknown", 500), ("out_of_range", 400), ("data_loss", 500)]
)
async def test_the_codes_that_aka_does_not_make_have_the_specifications_status_too(name: str, status: int) -> None:
    code = code_pb2.Code.Value(name.upper() if name != "canceled" else "CANCELLED")
    refusal = Refusal("INTERNAL", "", status=Status(code=code))
    answer = connect.refuse(refusal, "abc")
    assert (answer.body["code"], answer.status) == (name, status)


@pytest.mark.parametrize("method", ["Nothing", "alias", "Alias2", "%41lia", "CreateKey"])
async def test_an_unknown_method_is_unimplemented(gateway: Gateway, method: str) -> None:
    answer = await gateway.call(method, {})
    assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
    assert answer.headers["content-type"] == "application/json"


async def test_version_1_of_the_protocol_is_spoken(known: Gateway) -> None:
    answer = await known.with_headers(connect_protocol_version="1").call("Resolve", CALLS["Resolve"])
    assert answer.status_code == 200


@pytest.mark.parametrize("version", ["2", "0", "", "one"])
async def test_another_version_of_the_protocol_is_an_invalid_argument(known: Gateway, version: str) -> None:
    answer = await known.with_headers(connect_protocol_version=version).call("Resolve", CALLS["Resolve"])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


async def test_a_call_within_its_timeout_is_done(known: Gateway) -> None:
    answer = await known.with_headers(connect_timeout_ms="9999999999").call("Resolve", CALLS["Resolve"])
    assert answer.status_code == 200


@pytest.mark.parametrize("milliseconds", ["1", "50", "0"])
async def test_a_call_past_its_timeout_is_deadline_exceeded(gateway: Gateway, milliseconds: str) -> None:
    gateway.trouble.holding = True
    answer = await gateway.with_headers(connect_timeout_ms=milliseconds).call("Alias", CALLS["Alias"])
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("given", ["", "-1", "1.5", "1s", "12345678901", "٣", "1 1"])
async def test_a_timeout_that_is_none_is_an_invalid_argument(known: Gateway, given: str) -> None:
    sent = {b"connect-timeout-ms": given.encode(), b"authorization": f"Bearer {known.key}".encode()}
    answer = await known.client.post(f"{CONNECT}/Resolve", json=CALLS["Resolve"], headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/grpc", "application/connect+json", "application/xml"]
)
async def test_another_content_type_is_415(gateway: Gateway, content_type: str) -> None:
    answer = await gateway.send("POST", f"{CONNECT}/Resolve", b"{}", content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "invalid_argument")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "rubbish"])
async def test_another_encoding_is_unimplemented_and_the_supported_one_is_named(
    gateway: Gateway, encoding: str
) -> None:
    answer = await gateway.send("POST", f"{CONNECT}/Resolve", b"{}", content_encoding=encoding)
    assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
    assert "identity" in answer.json()["message"]


async def test_the_identity_encoding_is_taken(known: Gateway) -> None:
    answer = await known.with_headers(content_encoding="identity").call("Resolve", CALLS["Resolve"])
    assert answer.status_code == 200


async def test_a_body_over_a_mebibyte_is_resource_exhausted(gateway: Gateway) -> None:
    answer = await gateway.send("POST", f"{CONNECT}/Resolve", b" " * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "resource_exhausted")


@pytest.mark.parametrize("body", [CALLS["Resolve"], {}], ids=["success", "error"])
async def test_trailing_metadata_is_headers_with_a_prefix(limited: Gateway, body: Any) -> None:
    answer = await limited.with_headers(x_request_id="abc").call("Resolve", body)
    names = ("x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining")
    assert [answer.headers.get(f"trailer-{name}") for name in names] == ["abc", "4", "3"]


async def test_a_call_over_the_limit_is_told_when_to_come_back(limited: Gateway) -> None:
    await limited.use_up()
    answer = await limited.call("Resolve", CALLS["Resolve"])
    assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")
    assert answer.headers["retry-after"] == "20"


async def test_validate_only_writes_nothing(known: Gateway) -> None:
    await known.done("Alias", CALLS["Alias"] | {"validateOnly": True})
    assert await known.knows("new") == [False]


async def test_a_repeat_under_one_request_id_gets_the_first_answer(known: Gateway) -> None:
    body = CALLS["Alias"] | {"requestId": UNKNOWN_UUID}
    assert await known.done("Alias", body) == await known.done("Alias", body)


async def curl(gateway: Gateway, method: str, body: Any) -> tuple[int, Any]:
    """Call with buf curl, as README shows it; return its exit status and what it printed."""
    buf = Path(sys.executable).with_name("buf")
    root = Path(__file__).parents[2]
    arguments = ["curl", "--protocol", "connect", "--schema", str(root / "protos")]
    arguments += ["-H", f"authorization: Bearer {gateway.key}", "-d", json.dumps(body)]
    running = await asyncio.create_subprocess_exec(
        buf,
        *arguments,
        f"http://{gateway.address}{CONNECT}/{method}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await running.communicate()
    return running.returncode or 0, json.loads(out or err)


@pytest.mark.parametrize("method", CALLS)
async def test_buf_curl_calls_every_rpc(known: Gateway, method: str) -> None:
    status, shown = await curl(known, method, CALLS[method])
    assert status == 0, shown
    json_format.ParseDict(shown, METHODS[method].response())


async def test_buf_curl_shows_an_error_with_its_code_and_details(gateway: Gateway) -> None:
    status, shown = await curl(gateway, "Alias", {"user_id": "nobody", "alias_id": "a"})
    assert (status != 0, shown["code"]) == (True, "not_found")
    assert "USER_NOT_FOUND" in json.dumps(shown["details"])


async def test_a_misspelt_merge_policy_is_refused_not_taken_for_the_default(gateway: Gateway) -> None:
    answer = await gateway.post(f"{CONNECT}/Alias", {"userId": "u", "aliasId": "a", "mergePolicy": "ALWAYS"})
    assert answer.status_code == 400
    assert answer.json()["message"] == "mergePolicy is 'ALWAYS', which is none of its values"
