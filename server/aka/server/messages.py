"""The contract's messages as the domain's values, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from aka.server.domain.alias import Alias
from aka.server.domain.create_aliases import CreateAlias
from aka.server.domain.delete_alias import DeleteAlias
from aka.server.domain.graph import Decision, Link, Profile
from aka.server.domain.identifiers import (
    Identifier,
    Key,
    ProfileId,
    checked_id,
    checked_profile_id,
    checked_user_alias,
    uuid_text,
)
from aka.server.domain.identify import Identify, IdentifyWithAttributes
from aka.server.domain.refused import Refused
from aka.server.domain.rules import Answer, Rules
from aka.server.domain.track import Subject, TrackAttributes
from aka.server.errors import AkaError, field_required, invalid_value
from aka.server.json_values import checked_values
from aka.server.page_tokens import page_size, read_token, write_token
from aka.server.status import status_of
from aka.server.store.store import Living, ProfilePage
from aka.v1 import alias_service_pb2 as v1

M = TypeVar("M")

MAX_REQUESTS: Final = 100
MAX_ITEMS: Final = 50
MAX_IDENTIFIERS: Final = 1000

_POLICIES: Final = frozenset(v1.MergePolicy.values())
_BEHAVIORS: Final = frozenset(v1.MergeBehavior.values())
_CONSISTENCIES: Final = frozenset(v1.Consistency.values())

_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799


# From a request: what it wants decided.


def alias(request: v1.AliasRequest, rules: Rules, *, may_merge: bool) -> Alias:
    """Read an AliasRequest."""
    user: Key
    match request.WhichOneof("user"):
        case "user_id":
            user = checked_id(request.user_id, "user_id")
        case "primary_user_id":
            user = checked_profile_id(request.primary_user_id, "primary_user_id")
        case _:
            raise field_required("user_id")
    linked = checked_id(request.alias_id, "alias_id")
    check_policy(request.merge_policy)
    return Alias(user, linked, request.merge_policy, request.create_missing, may_merge, rules)


def batch_alias(request: v1.BatchAliasRequest, rules: Rules, *, may_merge: bool) -> list[Decision[Answer]]:
    """Read a BatchAliasRequest, a decision an item."""

    def read(item: v1.AliasRequest) -> Alias:
        for field in ("validate_only", "request_id"):
            if getattr(item, field):
                raise invalid_value(field, "must be unset in an item; set it on the batch")
        return alias(item, rules, may_merge=may_merge)

    return _each(request.requests, "requests", MAX_REQUESTS, read)


def create_aliases(request: v1.CreateAliasesRequest, rules: Rules) -> list[Decision[Answer]]:
    """Read a CreateAliasesRequest, a decision an item."""

    def read(item: v1.NewUserAlias) -> CreateAlias:
        external = checked_id(item.external_id, "external_id") if item.HasField("external_id") else None
        label, name, anonymous_id = item.alias_label, item.alias_name, item.anonymous_id
        if not anonymous_id:
            pair = checked_user_alias(label, name, label_field="alias_label", name_field="alias_name")
            return CreateAlias(external, pair, rules)
        if label or name:
            raise invalid_value("anonymous_id", "cannot be given with a user alias; send two items")
        return CreateAlias(external, checked_id(anonymous_id, "anonymous_id"), rules)

    return _each(request.user_aliases, "user_aliases", MAX_ITEMS, read)


def identify(request: v1.IdentifyRequest, rules: Rules, *, may_write: bool) -> list[Decision[Answer]]:
    """Read an IdentifyRequest, a decision an item. Without `may_write` items with attributes are refused."""
    _known(request.merge_behavior, _BEHAVIORS, "merge_behavior")
    orphan = request.merge_behavior != v1.MERGE_BEHAVIOR_MERGE

    def read(item: v1.AliasToIdentify) -> Identify | IdentifyWithAttributes:
        external = checked_id(item.external_id, "external_id")
        subject = None
        match item.WhichOneof("subject"):
            case "user_alias":
                subject = user_alias(item.user_alias)
            case "anonymous_id":
                subject = checked_id(item.anonymous_id, "anonymous_id")
        identified = Identify(external, subject, orphan, rules)
        if not item.HasField("attributes"):
            return identified
        if not may_write:
            why = "The API key lacks the permission profiles.write, which attributes need"
            raise AkaError(v1.ERROR_REASON_PERMISSION_MISSING, why, permission="profiles.write")
        attributes, whose = checked_values(item.attributes, "attributes"), Subject(external, "external_id", False)
        return IdentifyWithAttributes(identified, TrackAttributes(whose, attributes, {}, (), time_of(item), rules))

    return _each(request.aliases_to_identify, "aliases_to_identify", MAX_ITEMS, read)


def delete_alias(request: v1.DeleteAliasRequest) -> DeleteAlias:
    """Read a DeleteAliasRequest."""
    match request.WhichOneof("alias"):
        case "id":
            unlinked = checked_id(request.id, "id")
        case "user_alias":
            unlinked = user_alias(request.user_alias)
        case _:
            raise field_required("id")
    profile_id = checked_profile_id(request.profile_id, "profile_id") if request.profile_id else None
    return DeleteAlias(unlinked, profile_id, request.allow_missing)


def resolve(request: v1.ResolveRequest) -> list[Key]:
    """Read a ResolveRequest, a key an identifier; one that is malformed fails it."""
    check_size(request.identifiers, "identifiers", MAX_IDENTIFIERS)
    _known(request.consistency, _CONSISTENCIES, "consistency")
    keys = []
    for index, item in enumerate(request.identifiers):
        try:
            keys.append(key_of(item))
        except AkaError as error:
            raise error.within(f"identifiers[{index}]") from None
    return keys


def get_profile(request: v1.GetProfileRequest) -> tuple[Key, Identifier | None, int]:
    """Read a GetProfileRequest: whose profile, the identifier to go on after, how many."""
    try:
        key = key_of(request.identifier)
    except AkaError as error:
        raise error.within("identifier") from None
    limit = page_size(request.page_size)
    _known(request.consistency, _CONSISTENCIES, "consistency")
    return key, read_token(request.page_token, key, Identifier), limit


# Back: what was decided or found, as a response.


def alias_response(request: v1.AliasRequest, results: Sequence[Answer | AkaError]) -> v1.AliasResponse:
    """Write the answer to an AliasRequest, or raise its refusal."""
    answer = _only(results)
    return v1.AliasResponse(
        user_id=answer.user_id,
        alias_id=request.alias_id,
        profile_id=_text(answer.profile_id),
        outcome=answer.outcome,
        merged_profile_id=_text(answer.merged),
    )


def batch_alias_response(results: Sequence[Answer | AkaError]) -> v1.BatchAliasResponse:
    """Write the answer to a BatchAliasRequest."""
    response = v1.BatchAliasResponse()
    _write_items(response, "requests", results)
    return response


def create_aliases_response(results: Sequence[Answer | AkaError]) -> v1.CreateAliasesResponse:
    """Write the answer to a CreateAliasesRequest."""
    response = v1.CreateAliasesResponse(aliases_processed=_processed(results))
    _write_items(response, "user_aliases", results)
    return response


def identify_response(results: Sequence[Answer | AkaError]) -> v1.IdentifyResponse:
    """Write the answer to an IdentifyRequest."""
    response = v1.IdentifyResponse(aliases_processed=_processed(results))
    _write_items(response, "aliases_to_identify", results)
    return response


def delete_alias_response(results: Sequence[ProfileId | AkaError | None]) -> v1.DeleteAliasResponse:
    """Write the answer to a DeleteAliasRequest, or raise its refusal."""
    return v1.DeleteAliasResponse(profile_id=_text(_only(results)))


def resolve_response(keys: Sequence[Key], found: Mapping[Key, Living]) -> v1.ResolveResponse:
    """Write whose each key is."""
    response = v1.ResolveResponse()
    add = response.resolutions.add
    for key in keys:
        resolution, profile = add(), found.get(key)
        if profile is not None:
            resolution.found = True
            resolution.profile_id = uuid_text(profile.id)
            if profile.primary is not None:
                resolution.user_id = profile.primary
                resolution.identified = True
            if redirected_from := tombstone_asked(key, profile.id):
                resolution.redirected_from = redirected_from
    return response


def get_profile_response(key: Key, page: ProfilePage) -> v1.GetProfileResponse:
    """Write a profile and a page of its identifiers."""
    profile = page.profile
    response = v1.GetProfileResponse(
        profile=v1.Profile(
            profile_id=uuid_text(profile.id),
            user_id=profile.primary or "",
            identified=profile.identified,
            identifiers=[linked_identifier(identifier, link, profile) for identifier, link in page.identifiers],
            merged_profile_ids=[uuid_text(tombstone) for tombstone in page.tombstones],
            created_at=timestamp(profile.created_at),
            updated_at=timestamp(profile.updated_at),
            merged_profile_count=profile.tombstones,
            identifier_count=profile.identifiers,
        ),
        redirected_from=tombstone_asked(key, profile.id),
    )
    if page.more:
        response.next_page_token = write_token(key, page.identifiers[-1][0])
    return response


def _each(items: Sequence[M], field: str, most: int, read: Callable[[M], Decision[Answer]]) -> list[Decision[Answer]]:
    check_size(items, field, most)
    decisions: list[Decision[Answer]] = []
    for item in items:
        try:
            decisions.append(read(item))
        except AkaError as error:
            decisions.append(Refused(error))
    return decisions


def check_size(items: Sequence[Any], field: str, most: int) -> None:
    """Raise BATCH_SIZE where there are too few or too many."""
    if not 1 <= len(items) <= most:
        raise AkaError(
            v1.ERROR_REASON_BATCH_SIZE,
            f"must have 1 to {most} items, not {len(items)}; nothing was applied",
            field=field,
            items=str(len(items)),
            maximum=str(most),
        )


def _known(value: int, values: frozenset[int], field: str) -> None:
    if value not in values:
        raise invalid_value(field, f"is {value}, which is none of its values", value=str(value))


def check_policy(value: int) -> None:
    """Raise INVALID_VALUE where it is no merge policy."""
    _known(value, _POLICIES, "merge_policy")


def user_alias(message: v1.UserAlias) -> Identifier:
    """Read the field `user_alias` of whatever message."""
    return checked_user_alias(
        message.alias_label,
        message.alias_name,
        label_field="user_alias.alias_label",
        name_field="user_alias.alias_name",
    )


def key_of(message: v1.Identifier) -> Key:
    """Read an Identifier."""
    match message.WhichOneof("value"):
        case "id":
            return checked_id(message.id, "id")
        case "user_alias":
            return user_alias(message.user_alias)
        case "profile_id":
            return checked_profile_id(message.profile_id, "profile_id")
        case _:
            raise field_required("id")


def _only(results: Sequence[M | AkaError]) -> M:
    (result,) = results
    if isinstance(result, AkaError):
        raise result
    return result


def _processed(results: Sequence[Answer | AkaError]) -> int:
    return sum(not isinstance(result, AkaError) for result in results)


def _write_items(
    response: v1.BatchAliasResponse | v1.CreateAliasesResponse | v1.IdentifyResponse,
    field: str,
    results: Sequence[Answer | AkaError],
) -> None:
    """Write a batch's results; `field` is the batch's, for the paths of refusals.

    (Field by field into the response: a message made by keywords and copied into it takes almost three times as long.)
    """
    add = response.results.add
    for index, result in enumerate(results):
        item = add()
        item.index = index
        if isinstance(result, AkaError):
            item.error.CopyFrom(status_of(result.within(f"{field}[{index}]")))
            item.reason = result.reason
            continue
        outcome, profile_id, user_id, merged = result
        item.outcome = outcome
        if profile_id is not None:
            item.profile_id = uuid_text(profile_id)
        if user_id:
            item.user_id = user_id
        if merged is not None:
            item.merged_profile_id = uuid_text(merged)


def tombstone_asked(key: Key, living: ProfileId) -> str:
    """Write which tombstone was asked for, where it was one by its profile id; else nothing."""
    return "" if isinstance(key, Identifier) or key == living else uuid_text(key)


def linked_identifier(identifier: Identifier, link: Link, profile: Profile) -> v1.LinkedIdentifier:
    """Write an identifier of a profile."""
    if identifier.is_id:
        message = v1.Identifier(id=identifier.name)
        if identifier.name == profile.primary:
            kind = v1.IDENTIFIER_KIND_PRIMARY
        else:
            kind = v1.IDENTIFIER_KIND_ANONYMOUS if link.anonymous else v1.IDENTIFIER_KIND_ALIAS
    else:
        pair = v1.UserAlias(alias_label=identifier.label, alias_name=identifier.name)
        message, kind = v1.Identifier(user_alias=pair), v1.IDENTIFIER_KIND_USER_ALIAS
    return v1.LinkedIdentifier(identifier=message, kind=kind, linked_at=timestamp(link.linked_at))


def _text(profile_id: ProfileId | None) -> str:
    return "" if profile_id is None else uuid_text(profile_id)


def time_of(message: Any) -> int | None:
    """Read the field `time` of whatever message, in microseconds since the epoch; None where it has none."""
    if not message.HasField("time"):
        return None
    seconds, nanos = message.time.seconds, message.time.nanos
    if not (_FIRST_SECOND <= seconds <= _LAST_SECOND and 0 <= nanos < 10**9):
        raise invalid_value(
            "time", "is no time: seconds of the years 1 to 9999 and 0 to 999,999,999 nanos are expected"
        )
    return int(seconds * 1_000_000 + nanos // 1000)


def timestamp(microseconds: int) -> Timestamp:
    """Write a time."""
    message = Timestamp()
    write_time(microseconds, message)
    return message


def write_time(microseconds: int, message: Timestamp) -> None:
    """Write a time into a field of that type."""
    message.seconds, rest = divmod(microseconds, 1_000_000)
    message.nanos = rest * 1000
