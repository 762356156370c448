"""Values as messages, and messages as values."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from aka.client._errors import error_of_item
from aka.client._identifiers import Identifier, ProfileId, UserAlias
from aka.client._values import (
    AliasRequest,
    AliasToIdentify,
    Change,
    Consistency,
    IdentifierKind,
    ImportAccount,
    ItemResult,
    Link,
    LinkedIdentifier,
    LinkPage,
    MergeBehavior,
    MergePolicy,
    NewUserAlias,
    Outcome,
    Profile,
    RefusedLink,
    Resolution,
)
from aka.v1 import alias_service_pb2 as v1

PAGE: Final = 1000
"""Identifiers of a profile that one call returns: the most that aka gives."""

IMPORT_BYTES: Final = 1 << 20
"""What the links of a message of ImportLinks have at most, but for a single one that has more. aka takes 4 MiB."""

E = TypeVar("E", bound=StrEnum)


def _numbers(words: type[E]) -> Mapping[E, Any]:
    """Return the numbers of the words of an enum that has the same name in the contract."""
    values = v1.DESCRIPTOR.enum_types_by_name[words.__name__].values
    by_end = {value.name.removeprefix(_prefix(words.__name__)): value.number for value in values}
    return {word: by_end[word] for word in words if word in by_end}


def _prefix(name: str) -> str:
    """Return what the values of an enum begin with: `MERGE_POLICY_` for `MergePolicy`."""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)[1:] + "_"


MERGE_POLICIES: Final = _numbers(MergePolicy)
MERGE_BEHAVIORS: Final = _numbers(MergeBehavior)
CONSISTENCIES: Final = _numbers(Consistency)
OUTCOMES: Final = {number: outcome for outcome, number in _numbers(Outcome).items()}
KINDS: Final = {number: kind for kind, number in _numbers(IdentifierKind).items()}


def alias_request(
    user_id: str | ProfileId | None = None,
    alias_id: str | None = None,
    *,
    primary_user_id: str | ProfileId | None = None,
    distinct_id: str | None = None,
    new_user_id: str | None = None,
    merge_policy: MergePolicy | None = None,
    create_missing: bool = False,
    validate_only: bool = False,
    request_id: str | uuid.UUID | None = None,
) -> v1.AliasRequest:
    """Return a request of Alias. TypeError unless one name of the user and one of the alias is given."""
    users = {"user_id": user_id, "primary_user_id": primary_user_id, "distinct_id": distinct_id}
    request = v1.AliasRequest(
        alias_id=_text("alias_id", _the_one("alias", {"alias_id": alias_id, "new_user_id": new_user_id})),
        merge_policy=_merge_policy(merge_policy),
        create_missing=create_missing,
        validate_only=validate_only,
        request_id=request_id_text(request_id),
    )
    user = _the_one("user", users)
    if primary_user_id is not None or isinstance(user, ProfileId):
        request.primary_user_id = _text("primary_user_id", user)
    else:
        request.user_id = _text("user_id", user)
    return request


def alias_item(item: AliasRequest) -> v1.AliasRequest:
    """Return an item of BatchAlias."""
    return alias_request(
        item.user_id, item.alias_id, merge_policy=item.merge_policy, create_missing=item.create_missing
    )


def new_user_alias(item: NewUserAlias) -> v1.NewUserAlias:
    """Return an item of CreateAliases."""
    pair = item.user_alias or UserAlias("", "")
    return v1.NewUserAlias(
        external_id=item.external_id,
        alias_label=pair.label,
        alias_name=pair.name,
        anonymous_id=item.anonymous_id or "",
    )


def alias_to_identify(item: AliasToIdentify) -> v1.AliasToIdentify:
    """Return an item of Identify. TypeError where it has both a user alias and an anonymous id."""
    if item.user_alias is not None and item.anonymous_id is not None:
        raise TypeError("identify takes a user_alias or an anonymous_id, not both: identify one, then the other")
    request = v1.AliasToIdentify(external_id=item.external_id)
    if item.user_alias is not None:
        request.user_alias.CopyFrom(user_alias(item.user_alias))
    if item.anonymous_id is not None:
        request.anonymous_id = item.anonymous_id
    if item.attributes:
        request.attributes.CopyFrom(struct("attributes", item.attributes))
    if item.time is not None:
        request.time.CopyFrom(timestamp(item.time))
    return request


def identifier(value: Identifier) -> v1.Identifier:
    """Return any name of a profile. TypeError where it is none."""
    match value:
        case UserAlias():
            return v1.Identifier(user_alias=user_alias(value))
        case ProfileId():
            return v1.Identifier(profile_id=value)
        case str():
            return v1.Identifier(id=value)
    raise TypeError(f"an identifier is a str, a UserAlias or a ProfileId, not {type(value).__name__}")


def resolve_request(identifiers: Sequence[Identifier], consistency: Consistency | None) -> v1.ResolveRequest:
    """Return a request of Resolve."""
    return v1.ResolveRequest(identifiers=map(identifier, identifiers), consistency=_consistency(consistency))


def get_profile_request(identifier_: Identifier, consistency: Consistency | None) -> v1.GetProfileRequest:
    """Return a request of GetProfile, for the first page."""
    return v1.GetProfileRequest(
        identifier=identifier(identifier_), page_size=PAGE, consistency=_consistency(consistency)
    )


def _merge_policy(merge_policy: MergePolicy | None) -> Any:
    return None if merge_policy is None else MERGE_POLICIES[MergePolicy(merge_policy)]


def _consistency(consistency: Consistency | None) -> Any:
    return None if consistency is None else CONSISTENCIES[Consistency(consistency)]


def merge_behavior_number(merge_behavior: MergeBehavior | None) -> Any:
    """Return a merge behavior; None is left to the server."""
    return None if merge_behavior is None else MERGE_BEHAVIORS[MergeBehavior(merge_behavior)]


def delete_alias_request(
    alias: str | UserAlias,
    *,
    profile_id: str | ProfileId | None,
    allow_missing: bool,
    validate_only: bool,
    request_id: str | uuid.UUID | None,
) -> v1.DeleteAliasRequest:
    """Return a request of DeleteAlias, which always has a `request_id`: without one it must not be repeated."""
    if profile_id == "":  # it would be taken for none, and what is on any profile unlinked
        raise ValueError("profile_id: it is empty; give a profile id, or None")
    request = v1.DeleteAliasRequest(
        profile_id=profile_id or "",
        allow_missing=allow_missing,
        validate_only=validate_only,
        request_id=request_id_text(uuid.uuid4() if request_id is None else request_id),
    )
    match alias:
        case UserAlias():
            request.user_alias.CopyFrom(user_alias(alias))
        case ProfileId():
            raise TypeError("a profile id is no alias and cannot be unlinked")
        case _:
            request.id = _text("alias", alias)
    return request


def import_requests(
    links: Iterable[Link], merge_policy: MergePolicy | None, *, validate_only: bool
) -> Iterator[v1.ImportLinksRequest]:
    """Yield messages of ImportLinks, none of them too large."""

    def begin() -> v1.ImportLinksRequest:
        return v1.ImportLinksRequest(merge_policy=_merge_policy(merge_policy), validate_only=validate_only)

    request, size = begin(), 0
    for one in map(_link_message, links):
        length = one.ByteSize()
        if request.links and size + length > IMPORT_BYTES:
            yield request
            request, size = begin(), 0
        request.links.append(one)
        size += length
    yield request


def _link_message(value: Link) -> v1.Link:
    """Return a link. TypeError where it is none or has two aliases, ValueError where an id of it is empty."""
    if not isinstance(value, Link):
        raise TypeError(f"import_links takes Links, not {type(value).__name__}")
    given = [name for name in ("alias_id", "anonymous_id", "user_alias") if getattr(value, name) is not None]
    if len(given) > 1:
        raise TypeError(f"{' and '.join(given)}: a Link has one of them; make a Link of each")
    if value.user_id == "" or value.profile_id == "":  # it would be taken for none, and another profile be made
        raise ValueError("Link: a user_id or profile_id is empty; give an id, or None")
    link = v1.Link(profile_id=value.profile_id or "", user_id=value.user_id or "")
    if value.alias_id is not None:
        link.alias_id = value.alias_id
    if value.anonymous_id is not None:
        link.anonymous_id = value.anonymous_id
    if value.user_alias is not None:
        link.user_alias.CopyFrom(user_alias(value.user_alias))
    return link


def request_id_text(request_id: str | uuid.UUID | None) -> str:
    """Return a request id as it is sent."""
    if request_id == "":  # it would be taken for none, and the change done again
        raise ValueError("request_id: it is empty; give a UUID, or None")
    return "" if request_id is None else str(request_id)


def change(answer: v1.AliasResponse | v1.ItemResult) -> Change:
    """Return what a change did."""
    return Change(
        OUTCOMES.get(answer.outcome, Outcome.UNKNOWN),
        profile_id(answer.profile_id),
        answer.user_id or None,
        profile_id(answer.merged_profile_id),
    )


def item_results(results: Iterable[v1.ItemResult], request_id: str) -> tuple[ItemResult, ...]:
    """Return what became of a batch's items; `request_id` is the call's."""
    return tuple(
        ItemResult(result.index, None, error_of_item(result.error, request_id))
        if result.HasField("error")
        else ItemResult(result.index, change(result), None)
        for result in results
    )


def export_request(resume_token: str | None) -> v1.ExportLinksRequest:
    """Return a request of ExportLinks."""
    if resume_token == "":  # it would be taken for none, and everything exported again
        raise ValueError("resume_token: it is empty; give a page's, or None")
    return v1.ExportLinksRequest(resume_token=resume_token or "")


def import_account(answer: v1.ImportLinksResponse, request_id: str) -> ImportAccount:
    """Return what an import did; `request_id` is the call's."""
    return ImportAccount(
        answer.links_received,
        answer.complete,
        answer.created,
        answer.linked,
        answer.already_linked,
        answer.merged,
        answer.identified,
        tuple(RefusedLink(refused.index, error_of_item(refused.error, request_id)) for refused in answer.refused),
    )


def link_page(answer: v1.ExportLinksResponse) -> LinkPage:
    """Return a part of an export."""
    return LinkPage(tuple(map(_link, answer.links)), answer.resume_token)


def resolution(asked: Identifier, answer: v1.Resolution) -> Resolution:
    """Return whose an identifier is."""
    return Resolution(
        asked,
        answer.found,
        profile_id(answer.profile_id),
        answer.user_id or None,
        answer.identified,
        profile_id(answer.redirected_from),
    )


def profile(answer: v1.GetProfileResponse, identifiers: Iterable[v1.LinkedIdentifier]) -> Profile:
    """Return a profile with all its identifiers."""
    found = answer.profile
    return Profile(
        ProfileId(found.profile_id),
        found.user_id or None,
        found.identified,
        tuple(map(linked_identifier, identifiers)),
        tuple(map(ProfileId, found.merged_profile_ids)),
        found.merged_profile_count,
        time_of(found.created_at),
        time_of(found.updated_at),
        profile_id(answer.redirected_from),
    )


def profile_id(text: str) -> ProfileId | None:
    """Return a profile id; None for none."""
    return ProfileId(text) if text else None


def linked_identifier(linked: v1.LinkedIdentifier) -> LinkedIdentifier:
    """Return an identifier of a profile."""
    found = linked.identifier
    pair = found.user_alias
    value = UserAlias(pair.alias_label, pair.alias_name) if found.HasField("user_alias") else found.id
    return LinkedIdentifier(value, KINDS.get(linked.kind, IdentifierKind.UNKNOWN), time_of(linked.linked_at))


def _link(link: v1.Link) -> Link:
    pair = link.user_alias
    return Link(
        profile_id(link.profile_id),
        link.user_id or None,
        link.alias_id or None,
        link.anonymous_id or None,
        UserAlias(pair.alias_label, pair.alias_name) if link.HasField("user_alias") else None,
        time_of(link.linked_at),
    )


def time_of(timestamp: Timestamp) -> datetime:
    """Return a time, in UTC."""
    return timestamp.ToDatetime(UTC)


def timestamp(time: datetime) -> Timestamp:
    """Return a time as a message. TypeError where it has no zone."""
    if time.tzinfo is None:
        raise TypeError("a time needs a time zone, such as datetime.UTC")
    written = Timestamp()
    written.FromDatetime(time)
    return written


def struct(name: str, values: Mapping[str, Any]) -> Struct:
    """Return values by their names as a message. TypeError where JSON cannot write them."""
    try:
        return json_format.ParseDict(dict(values), Struct())
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise TypeError(f"{name} must be what JSON can write: {error}") from None


def user_alias(pair: UserAlias) -> v1.UserAlias:
    """Return a user alias."""
    return v1.UserAlias(alias_label=pair.label, alias_name=pair.name)


def _the_one(what: str, given: Mapping[str, str | None]) -> str:
    """Return the one of several names for a thing that is given."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) == 1:
        return given[names[0]] or ""
    if not names:
        raise TypeError(f"the {what} is missing: give {' or '.join(given)}")
    raise TypeError(f"{' and '.join(names)} all name the {what}: give one of them")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a str, not {type(value).__name__}")
    return value
