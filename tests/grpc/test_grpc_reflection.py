"""Reflection: what it lists and describes, who may ask, and buf curl on top of it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from aka.server.methods import ADMIN_METHODS, ADMIN_SERVICE, METHODS, SERVICE
from tests.grpc.wire import KEY, Refused, Server, serving

Reflecting = Callable[[str], AbstractAsyncContextManager[Server]]

BUF = str(Path(sys.executable).with_name("buf"))

SERVICES = {SERVICE, ADMIN_SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


@pytest.fixture
def reflecting(tmp_path: Path) -> Reflecting:
    """Serve with reflection `on`, `key` or `off`."""

    @asynccontextmanager
    async def serve(reflection: str) -> AsyncIterator[Server]:
        async with serving(tmp_path / "aka.db", reflection=reflection) as server:
            yield server

    return serve


async def ask(server: Server, key: str | None = None, **question: Any) -> Any:
    """Ask one question of the reflection service; Refused where it is not there or needs a better key."""
    metadata = (("x-request-id", "mine"), *(() if key is None else (("authorization", f"Bearer {key}"),)))
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub
        stream = stub(channel).ServerReflectionInfo(metadata=metadata)
        try:
            await stream.write(reflection_pb2.ServerReflectionRequest(**question))
            return await stream.read()
        except grpc.aio.AioRpcError as error:
            raise Refused(error) from None
        finally:
            stream.cancel()


async def listed(server: Server, key: str | None = None) -> set[str]:
    answer = await ask(server, key, list_services="*")
    return {service.name for service in answer.list_services_response.service}


async def described(server: Server, symbol: str) -> FileDescriptorProto:
    answer = await ask(server, file_containing_symbol=symbol)
    return FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])


async def buf_curl(server: Server, *arguments: str) -> tuple[int, str]:
    """Run buf curl over gRPC and return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        BUF,
        "curl",
        "--protocol=grpc",
        "--http2-prior-knowledge",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, (out or err).decode()


async def curl_json(server: Server, method: str, body: dict[str, Any]) -> Any:
    url = f"http://{server.address}/{SERVICE}/{method}"
    code, printed = await buf_curl(server, "-H", f"authorization: Bearer {KEY}", "-d", json.dumps(body), url)
    assert code == 0, printed
    return json.loads(printed)


async def test_reflection_lists_every_service(reflecting: Reflecting) -> None:
    async with reflecting("on") as server:
        assert await listed(server) == SERVICES


@pytest.mark.parametrize(("name", "methods"), [(SERVICE, METHODS), (ADMIN_SERVICE, ADMIN_METHODS)])
async def test_reflection_describes_a_service_with_every_rpc(
    reflecting: Reflecting, name: str, methods: Mapping[str, Any]
) -> None:
    async with reflecting("on") as server:
        file = await described(server, name)
    (service,) = file.service
    assert [method.name for method in service.method] == list(methods)


async def test_reflection_describes_a_message(reflecting: Reflecting) -> None:
    async with reflecting("on") as server:
        file = await described(server, "aka.v1.AliasRequest")
    assert file.package == "aka.v1"
    assert "AliasRequest" in [message.name for message in file.message_type]


@pytest.mark.parametrize("name", ["google/rpc/status.proto", "google/protobuf/timestamp.proto"])
async def test_reflection_has_the_files_that_the_contract_imports(reflecting: Reflecting, name: str) -> None:
    async with reflecting("on") as server:
        answer = await ask(server, file_by_filename=name)
    assert answer.file_descriptor_response.file_descriptor_proto


async def test_reflection_says_that_a_symbol_is_not_found(reflecting: Reflecting) -> None:
    async with reflecting("on") as server:
        answer = await ask(server, file_containing_symbol="nobody.Knows")
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_reflection_that_needs_a_key_answers_with_one(reflecting: Reflecting) -> None:
    async with reflecting("key") as server:
        assert await listed(server, KEY) == SERVICES


async def test_any_good_key_may_ask(reflecting: Reflecting) -> None:
    async with reflecting("key") as server:
        assert SERVICE in await listed(server, server.add_key("profiles.read"))


@pytest.mark.parametrize(("key", "reason"), [(None, "KEY_MISSING"), ("nobody", "KEY_INVALID")])
async def test_reflection_that_needs_a_key_refuses_others(reflecting: Reflecting, key: str | None, reason: str) -> None:
    async with reflecting("key") as server:
        with pytest.raises(Refused) as refused:
            await listed(server, key)
    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert refused.value.request is not None
    assert refused.value.trailers["x-request-id"] == refused.value.request.request_id == "mine"


async def test_reflection_that_is_off_is_not_there(reflecting: Reflecting) -> None:
    async with reflecting("off") as server:
        with pytest.raises(Refused) as refused:
            await listed(server, KEY)
    assert refused.value.code == grpc.StatusCode.UNIMPLEMENTED


async def test_buf_curl_lists_the_methods(reflecting: Reflecting) -> None:
    async with reflecting("on") as server:
        code, printed = await buf_curl(server, "--list-methods", f"http://{server.address}")
    assert code == 0, printed
    assert {f"{SERVICE}/{method}" for method in METHODS} <= set(printed.split())


async def test_buf_curl_sends_each_documented_body_without_a_proto_file(reflecting: Reflecting) -> None:
    pair = {"aliasName": "alias_only", "aliasLabel": "example_label"}
    async with reflecting("on") as server:
        known = await curl_json(server, "Identify", {"aliases_to_identify": [{"external_id": "user_123"}]})
        appizer = await curl_json(server, "Alias", {"user_id": "user_123", "alias_id": "legacy_999"})
        altertable = await curl_json(
            server,
            "Alias",
            {"user_id": "user_123", "alias_id": "stripe:cus_abc123", "merge_policy": "MERGE_POLICY_ALWAYS"},
        )
        new = {"alias_name": "alias_only", "alias_label": "example_label"}
        braze_new = await curl_json(server, "CreateAliases", {"user_aliases": [new]})
        braze_identify = await curl_json(
            server, "Identify", {"aliases_to_identify": [{"external_id": "user_456", "user_alias": new}]}
        )
        resolved = await curl_json(server, "Resolve", {"identifiers": [{"id": "legacy_999"}, {"user_alias": pair}]})
    profile_id = known["results"][0]["profileId"]
    other = braze_new["results"][0]["profileId"]
    assert (appizer["outcome"], appizer["profileId"]) == ("OUTCOME_LINKED", profile_id)
    assert (altertable["outcome"], altertable["profileId"]) == ("OUTCOME_LINKED", profile_id)
    assert (braze_new["aliasesProcessed"], braze_new["results"][0]["outcome"]) == (1, "OUTCOME_CREATED")
    assert braze_identify["results"] == [{"outcome": "OUTCOME_IDENTIFIED", "profileId": other, "userId": "user_456"}]
    assert [found["profileId"] for found in resolved["resolutions"]] == [profile_id, other]


async def test_buf_curl_shows_an_error_with_its_details(reflecting: Reflecting) -> None:
    async with reflecting("on") as server:
        url = f"http://{server.address}/{SERVICE}/Alias"
        code, printed = await buf_curl(server, "-H", f"authorization: Bearer {KEY}", "-d", '{"user_id": "u"}', url)
    error = json.loads(printed)
    assert code == grpc.StatusCode.INVALID_ARGUMENT.value[0] << 3
    assert error["message"] == "Missing required field: alias_id"
    assert "ErrorInfo" in str(error["details"])


async def test_buf_curl_asks_with_the_key_where_reflection_needs_one(reflecting: Reflecting) -> None:
    async with reflecting("key") as server:
        url = f"http://{server.address}/{SERVICE}/Resolve"
        header = f"authorization: Bearer {KEY}"
        body = '{"identifiers": [{"id": "u"}]}'
        code, printed = await buf_curl(server, "-H", header, "--reflect-header", header, "-d", body, url)
    assert code == 0, printed
