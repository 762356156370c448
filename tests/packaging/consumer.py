"""A program of somebody who uses aka's client and its stubs. It is type-checked against the installed wheel."""

from collections.abc import AsyncIterator, Mapping
from typing import assert_type

import grpc

from aka.client import (
    AkaError,
    AliasTaken,
    AsyncClient,
    Change,
    Client,
    ItemResult,
    MergePolicy,
    NewUserAlias,
    Outcome,
    Profile,
    ProfileId,
    Resolution,
    UserAlias,
)
from aka.v1 import alias_service_pb2 as v1
from aka.v1.alias_service_pb2_grpc import AliasServiceStub


def link(client: Client) -> Outcome:
    """Call by the client for threads."""
    change = client.alias("user_123", "stripe:cus_abc123", merge_policy=MergePolicy.ALWAYS, create_missing=True)
    assert_type(change, Change)
    assert_type(change.profile_id, ProfileId | None)
    assert_type(client.create_aliases([NewUserAlias(UserAlias("kiosk", "7"))]), tuple[ItemResult, ...])
    try:
        assert_type(client.get_profile(UserAlias("kiosk", "7")), Profile)
    except AliasTaken as taken:
        assert_type(taken.metadata, Mapping[str, str])
    except AkaError as error:
        assert_type(error.code, grpc.StatusCode)
        raise
    return change.outcome


async def whose(client: AsyncClient, identifiers: AsyncIterator[str]) -> list[str | None]:
    """Call by the client for asyncio."""
    assert_type(await client.resolve("user_123"), Resolution)
    return [resolution.user_id async for resolution in client.resolve_many(identifiers)]


def link_by_the_stub(channel: grpc.Channel, key: str) -> str:
    """Call by the generated stub."""
    request = v1.AliasRequest(user_id="user_123", alias_id="stripe:cus_abc123")
    response = AliasServiceStub(channel).Alias(request, metadata=(("authorization", f"Bearer {key}"),))
    assert_type(response, v1.AliasResponse)
    return v1.Outcome.Name(response.outcome)
