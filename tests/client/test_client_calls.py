"""Every call of both clients, over the wire. (The installed wheel, without the server, passes these tests too.)"""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aka.client import (
    AkaError,
    AliasNotFound,
    AliasRequest,
    AliasTaken,
    AliasToIdentify,
    AlreadyIdentified,
    AsyncClient,
    BatchSize,
    Call,
    Change,
    Client,
    Consistency,
    IdentifiedProfile,
    IdentifierKind,
    LinkedIdentifier,
    MergeBehavior,
    MergePolicy,
    NewUserAlias,
    NotOnProfile,
    Outcome,
    ProfileId,
    ProfileNotFound,
    RequestIdReused,
    UserAlias,
    UserNotFound,
)
from aka.v1 import alias_service_pb2 as v1
from tests.client.calls import Calls, Workspace, calls_to

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

NEWSLETTER = UserAlias("newsletter", "jane@example.com")


async def test_altertables_documented_call_works_as_written(client: Calls) -> None:
    known = await client.identify("user_123")
    linked = await client.alias(distinct_id="user_123", new_user_id="stripe:cus_abc123")
    assert linked == Change(Outcome.LINKED, known.profile_id, "user_123", None)


async def test_altertables_full_equivalent_makes_a_user_and_joins_two(client: Calls) -> None:
    await client.identify("crm:1")
    full = {"merge_policy": MergePolicy.ALWAYS, "create_missing": True}
    assert (await client.alias(distinct_id="user_1", new_user_id="a", **full)).outcome == Outcome.CREATED
    merged = await client.alias(distinct_id="user_1", new_user_id="crm:1", **full)
    assert (merged.outcome, merged.user_id) == (Outcome.MERGED, "user_1")
    assert UUID.fullmatch(merged.merged_profile_id)


async def test_a_user_may_be_named_by_a_profile_id(client: Calls) -> None:
    profile_id = (await client.identify("u")).profile_id
    assert (await client.alias(profile_id, "a")).profile_id == profile_id
    assert (await client.alias(primary_user_id=str(profile_id), alias_id="b")).profile_id == profile_id
    with pytest.raises(UserNotFound):  # a plain string is an id
        await client.alias(str(profile_id), "c")


async def test_a_refusal_names_both_profiles(client: Calls) -> None:
    both = [(await client.identify(user)).profile_id for user in ("u", "v")]
    for error, call in (
        (IdentifiedProfile, client.alias("u", "v")),
        (AliasTaken, client.alias("u", "v", merge_policy=MergePolicy.NEVER)),
        (AlreadyIdentified, client.identify("u", anonymous_id="v")),
        (NotOnProfile, client.delete_alias("v", profile_id=both[0])),
    ):
        with pytest.raises(AkaError) as refused:
            await call
        assert type(refused.value) is error
        assert [refused.value.user_profile_id, refused.value.alias_profile_id] == both


async def test_a_refusal_names_no_profile_that_is_not_there(client: Calls) -> None:
    with pytest.raises(ProfileNotFound) as refused:
        await client.alias(ProfileId(str(uuid.uuid4())), "v")
    assert refused.value.user_profile_id is None


async def test_validate_only_has_the_outcome_and_writes_nothing(client: Calls) -> None:
    tried = await client.alias("u", "a", create_missing=True, validate_only=True)
    assert tried == Change(Outcome.CREATED, None, "u", None)
    assert not (await client.resolve("u")).found


async def test_a_request_id_gets_the_first_answer_again(client: Calls) -> None:
    request_id = uuid.uuid4()
    first = await client.alias("u", "a", create_missing=True, request_id=request_id)
    again = await client.alias("u", "a", create_missing=True, request_id=str(request_id))
    assert first == again
    assert first.outcome == Outcome.CREATED
    with pytest.raises(RequestIdReused):
        await client.alias("u", "b", request_id=request_id)


async def test_a_batch_has_a_change_or_an_error_for_each_item(client: Calls) -> None:
    created, refused, merged = await client.batch_alias(
        [
            AliasRequest("u", "a", create_missing=True),
            AliasRequest("nobody", "b"),
            AliasRequest("u", "a", MergePolicy.NEVER),
        ]
    )
    assert (created.index, created.unwrap().outcome, created.error) == (0, Outcome.CREATED, None)
    assert merged.unwrap().outcome == Outcome.ALREADY_LINKED
    assert (refused.index, refused.change) == (1, None)
    assert refused.error.metadata == {"user_id": "nobody"}
    assert UUID.fullmatch(refused.error.request_id)
    with pytest.raises(UserNotFound):
        refused.unwrap()


async def test_each_item_of_a_batch_has_its_own_merge_policy(client: Calls) -> None:
    await client.identify_many([AliasToIdentify(user) for user in ("u", "v")])
    policies = (MergePolicy.NEVER, None, MergePolicy.ALWAYS)
    results = await client.batch_alias([AliasRequest("u", "v", policy) for policy in policies])
    assert [result.error and type(result.error) for result in results] == [AliasTaken, IdentifiedProfile, None]


async def test_a_batch_may_be_validated_and_repeated(client: Calls) -> None:
    items = [AliasRequest("u", "a", create_missing=True)]
    (tried,) = await client.batch_alias(items, validate_only=True)
    assert tried.change == Change(Outcome.CREATED, None, "u", None)
    request_id = uuid.uuid4()
    first = await client.batch_alias(items, request_id=request_id)
    assert first == await client.batch_alias(items, request_id=request_id)
    assert first[0].change.outcome == Outcome.CREATED


async def test_a_batch_of_nothing_is_refused_whole(client: Calls) -> None:
    for call in (client.batch_alias, client.create_aliases, client.identify_many):
        with pytest.raises(BatchSize):
            await call([])


async def test_aliases_are_created_for_known_users_and_new_anonymous_profiles(client: Calls) -> None:
    known = (await client.identify("user_123")).profile_id
    results = await client.create_aliases(
        [
            NewUserAlias(NEWSLETTER, external_id="user_123"),
            NewUserAlias(UserAlias("kiosk", "device-7")),
            NewUserAlias(anonymous_id="session-1"),
            NewUserAlias(NEWSLETTER, external_id=""),
        ]
    )
    linked, made, anonymous, empty = results
    assert linked.change == Change(Outcome.LINKED, known, "user_123", None)
    assert (made.change.outcome, made.change.user_id) == (Outcome.CREATED, None)
    assert anonymous.change.outcome == Outcome.CREATED
    assert empty.error.field == "user_aliases[3].external_id"


async def test_one_alias_is_created_or_the_call_is_refused(client: Calls) -> None:
    made = await client.create_alias(NEWSLETTER)
    assert (made.outcome, made.user_id) == (Outcome.CREATED, None)
    assert (await client.create_alias(anonymous_id="session-1")).outcome == Outcome.CREATED
    with pytest.raises(UserNotFound):
        await client.create_alias(UserAlias("l", "n"), external_id="nobody")


async def test_a_user_alias_is_identified(client: Calls) -> None:
    made = await client.create_alias(NEWSLETTER)
    known = await client.identify("user_456", NEWSLETTER)
    assert known == Change(Outcome.IDENTIFIED, made.profile_id, "user_456", None)
    with pytest.raises(AliasNotFound):
        await client.identify("user_456", UserAlias("no", "such"))


@pytest.mark.parametrize("behavior", [None, *MergeBehavior])
async def test_many_are_identified(behavior: MergeBehavior | None, client: Calls) -> None:
    await client.create_alias(NEWSLETTER)
    results = await client.identify_many(
        [AliasToIdentify("u"), AliasToIdentify("u", NEWSLETTER), AliasToIdentify("u", anonymous_id="s")],
        merge_behavior=behavior,
    )
    assert [result.unwrap().outcome for result in results] == [Outcome.CREATED, Outcome.MERGED, Outcome.LINKED]


async def test_two_subjects_of_one_item_are_a_type_error(client: Calls) -> None:
    with pytest.raises(TypeError, match="not both"):
        await client.identify("u", NEWSLETTER, anonymous_id="s")


async def test_every_kind_of_identifier_is_resolved(client: Calls) -> None:
    profile_id = (await client.identify("u")).profile_id
    await client.create_alias(NEWSLETTER, external_id="u")
    for identifier in ("u", NEWSLETTER, profile_id):
        found = await client.resolve(identifier)
        assert (found.identifier, found.found, found.profile_id) == (identifier, True, profile_id)
        assert (found.user_id, found.identified, found.redirected_from) == ("u", True, None)


async def test_who_is_nobody_or_anonymous_is_an_answer(client: Calls) -> None:
    nobody = await client.resolve("nobody")
    assert (nobody.found, nobody.profile_id, nobody.user_id, nobody.identified) == (False, None, None, False)
    made = await client.create_alias(anonymous_id="s")
    found = await client.resolve("s", consistency=Consistency.EVENTUAL)
    assert (found.found, found.profile_id, found.user_id, found.identified) == (True, made.profile_id, None, False)


async def test_a_string_that_looks_like_a_profile_id_is_an_id(client: Calls) -> None:
    profile_id = (await client.identify("u")).profile_id
    assert not (await client.resolve(str(profile_id))).found
    assert (await client.resolve(ProfileId(str(profile_id)))).found


async def test_a_tombstone_leads_to_its_survivor(client: Calls) -> None:
    survivor = (await client.identify("u")).profile_id
    tombstone = (await client.create_alias(anonymous_id="s")).profile_id
    assert (await client.alias("u", "s")).merged_profile_id == tombstone
    found = await client.resolve(tombstone)
    assert (found.profile_id, found.redirected_from) == (survivor, tombstone)
    profile = await client.get_profile(tombstone, consistency=Consistency.STRONG)
    assert (profile.profile_id, profile.redirected_from) == (survivor, tombstone)
    assert (profile.merged_profile_ids, profile.merged_profile_count) == ((tombstone,), 1)
    assert (await client.resolve(profile.merged_profile_ids[0])).found  # it is asked for as it is


async def test_a_profile_has_its_identifiers_with_their_kinds_and_times(client: Calls) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await client.identify("u", anonymous_id="s")
    await client.alias("u", "a")
    await client.create_alias(NEWSLETTER, external_id="u")
    profile = await client.get_profile(NEWSLETTER)
    assert (profile.user_id, profile.identified, profile.redirected_from) == ("u", True, None)
    assert {linked.identifier: linked.kind for linked in profile.identifiers} == {
        "a": IdentifierKind.ALIAS,
        "s": IdentifierKind.ANONYMOUS,
        "u": IdentifierKind.PRIMARY,
        NEWSLETTER: IdentifierKind.USER_ALIAS,
    }
    times = [profile.created_at, profile.updated_at, *(linked.linked_at for linked in profile.identifiers)]
    assert all(before < time <= datetime.now(UTC) for time in times)


async def test_a_profile_of_many_pages_is_whole(client: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aka.client._messages.PAGE", 2)
    await client.identify("u")
    await client.batch_alias([AliasRequest("u", f"a{n}") for n in range(6)])
    profile = await client.get_profile("u")
    assert [linked.identifier for linked in profile.identifiers] == [*(f"a{n}" for n in range(6)), "u"]
    assert isinstance(profile.identifiers[0], LinkedIdentifier)


async def test_a_profile_whose_identifier_moves_between_two_pages_is_not_mixed_with_the_other(
    server: Workspace, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aka.client._messages.PAGE", 2)

    def move(_: Call) -> None:
        if not moved:
            moved.append(other.delete_alias("z"))
            other.alias("v", "z")

    moved: list[Any] = []
    with Client(server.address, api_key=server.key) as other:
        for user in "u", "v":
            other.identify(user)
            other.batch_alias([AliasRequest(user, f"{user}{n}") for n in range(3)])
        other.alias("u", "z")
        async with calls_to(api, server.address, api_key=server.key, on_call=move) as client:
            profile = await client.get_profile("z")
    assert moved
    assert profile.user_id == "v"
    assert [linked.identifier for linked in profile.identifiers] == ["v", "v0", "v1", "v2", "z"]


@pytest.mark.parametrize("name", ["profile_id", "request_id"])
async def test_an_empty_id_is_not_taken_for_none(name: str, client: Calls) -> None:
    await client.identify("u", anonymous_id="a")
    with pytest.raises(ValueError, match=f"{name}: it is empty"):
        await client.delete_alias("a", **{name: ""})
    with pytest.raises(ValueError, match="request_id: it is empty"):
        await client.alias("u", "b", request_id="")
    assert (await client.resolve("a")).found


async def test_an_alias_is_deleted(client: Calls) -> None:
    profile_id = (await client.identify("u")).profile_id
    await client.alias("u", "a")
    await client.create_alias(NEWSLETTER, external_id="u")
    assert (await client.delete_alias("a", profile_id=profile_id, validate_only=True)).profile_id == profile_id
    assert (await client.delete_alias("a", profile_id=profile_id)).profile_id == profile_id
    assert (await client.delete_alias(NEWSLETTER)).profile_id == profile_id
    assert not (await client.resolve("a")).found
    with pytest.raises(AliasNotFound):
        await client.delete_alias("a")
    assert (await client.delete_alias("a", allow_missing=True)).profile_id is None


async def test_a_profile_id_is_no_alias(client: Calls) -> None:
    with pytest.raises(TypeError, match="a profile id is no alias"):
        await client.delete_alias(ProfileId(str(uuid.uuid4())))


@pytest.mark.parametrize("wrong", [None, 7, b"u", ("l", "n")])
async def test_what_is_no_identifier_is_a_type_error(wrong: object, client: Calls) -> None:
    with pytest.raises(TypeError, match="an identifier is a str, a UserAlias or a ProfileId"):
        await client.resolve(wrong)
    with pytest.raises(TypeError, match="an identifier is a str, a UserAlias or a ProfileId"):
        await client.resolve_all([wrong])


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_there_is_a_method_for_every_rpc(kind: type) -> None:
    methods = v1.DESCRIPTOR.services_by_name["AliasService"].methods
    assert {re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower() for method in methods} <= set(dir(kind))
