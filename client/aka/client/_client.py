"""The client for threads. Generated from _async_client.py by `make sync-client`; do not edit."""

import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import grpc

from aka.client import _data_messages as data_messages
from aka.client import _messages as messages
from aka.client._channel import MOST_RETRIES, Target, Tls
from aka.client._connection import Connection, OnCall, Terms
from aka.client._data_values import Event, ExportedProfile, ProfileAttributes, Purchase, SentMessage, Tracked
from aka.client._identifiers import Identifier, ProfileId, UserAlias
from aka.client._pipelines import batches, in_order
from aka.client._values import (
    AliasRequest,
    AliasToIdentify,
    Change,
    Consistency,
    ImportAccount,
    ItemResult,
    Link,
    LinkPage,
    MergeBehavior,
    MergePolicy,
    NewUserAlias,
    Profile,
    Resolution,
    Unlinked,
)
from aka.v1 import alias_service_pb2 as v1

MOST_RESOLVED = 1000
"""Identifiers that one Resolve takes."""

MOST_IMPORTED = 1000
"""Links that one message of ImportLinks takes."""


class Client:
    """Calls aka. Make one and use it for all calls; it is a context manager that closes itself.

        with Client("aka.example.com:50051", api_key="aka_...", tls=Tls()) as client:
            resolution = client.resolve("user_123")

    What all methods share:

    - `timeout` is the seconds that a call may take, repeats included; None: the client's. (`import_links` and
      `export_links` take as long as they take: None is no limit there.)
    - `request_id`, a UUID, makes a change one that is done once: the same call with the same one gets its first
      answer again for 24 hours. (AIP-155)
    - `validate_only` gives the outcome or the error that the call would have, and writes nothing. (AIP-163)
    - An option that is None is left to the server.
    - An `AkaError` is raised where the call has no good answer, a TypeError or ValueError for an argument that cannot
      be sent. A batch's items have their own errors in the results.

    Calls that fail with UNAVAILABLE, ABORTED or OVERLOADED are repeated, with growing pauses, while `timeout` lasts.
    Where the first attempt was done and its answer lost, the repeat says `Outcome.ALREADY_LINKED`, unless it has a
    `request_id`. (`delete_alias` and `track` always have one.)
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        api_key: str | None = None,
        tls: Tls | None = None,
        timeout: float = 5.0,
        retries: int = MOST_RETRIES,
        channel: grpc.Channel | None = None,
        on_call: OnCall | None = None,
    ) -> None:
        """Connect to `address` at the first call.

        `address` is `HOST:PORT`, `unix:/path` or another gRPC target. Where a name has several addresses, calls go to
        all of them in turn. Without `tls` there is none. Without `api_key` it is AKA_API_KEY. `retries` is how often a
        call is repeated, 0 to 4. `on_call` is told of each call that has ended, and must not raise.

        `channel` stands in for `address`, `tls` and `retries`; it stays open when the client is closed.
        """
        if (address is None) == (channel is None):
            raise TypeError("give an address or a channel")
        terms = Terms.of(api_key, timeout, on_call)
        self._connection = Connection(channel or Target.of(address or "", tls, retries), terms)

    def alias(
        self,
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
        timeout: float | None = None,
    ) -> Change:
        """Link an id to a user's profile, or join two profiles where `merge_policy` allows it.

        The user is `user_id` or `distinct_id`, any id of the user, or `primary_user_id`, a profile id (a `ProfileId`
        in place of `user_id` is one too). The alias is `alias_id` or `new_user_id`. These are other words for the
        same, and change nothing else; two for one thing are a TypeError.

        `create_missing` makes a user who is not known, which is a `UserNotFound` otherwise.
        (Appizer `POST /users/aliases`, Altertable `alias()`)
        """
        request = messages.alias_request(
            user_id,
            alias_id,
            primary_user_id=primary_user_id,
            distinct_id=distinct_id,
            new_user_id=new_user_id,
            merge_policy=merge_policy,
            create_missing=create_missing,
            validate_only=validate_only,
            request_id=request_id,
        )
        answer, _ = self._connection.call(request, v1.AliasResponse, timeout)
        return messages.change(answer)

    def batch_alias(
        self,
        requests: Iterable[AliasRequest],
        *,
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> tuple[ItemResult, ...]:
        """Do 1 to 100 `alias` calls in order, in one transaction, and return what became of each."""
        request = v1.BatchAliasRequest(
            requests=map(messages.alias_item, requests),
            validate_only=validate_only,
            request_id=messages.request_id_text(request_id),
        )
        answer, call_id = self._connection.call(request, v1.BatchAliasResponse, timeout)
        return messages.item_results(answer.results, call_id)

    def create_alias(
        self,
        user_alias: UserAlias | None = None,
        *,
        anonymous_id: str | None = None,
        external_id: str | None = None,
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> Change:
        """Give a user alias, or an anonymous id, to the profile that has `external_id`, or to a new anonymous one."""
        items = (NewUserAlias(user_alias, anonymous_id, external_id),)
        (result,) = self.create_aliases(items, validate_only=validate_only, request_id=request_id, timeout=timeout)
        return result.unwrap()

    def create_aliases(
        self,
        user_aliases: Iterable[NewUserAlias],
        *,
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> tuple[ItemResult, ...]:
        """Do `create_alias` for 1 to 50 items in order, in one transaction, and return what became of each.

        (Braze `POST /users/alias/new`)
        """
        request = v1.CreateAliasesRequest(
            user_aliases=map(messages.new_user_alias, user_aliases),
            validate_only=validate_only,
            request_id=messages.request_id_text(request_id),
        )
        answer, call_id = self._connection.call(request, v1.CreateAliasesResponse, timeout)
        return messages.item_results(answer.results, call_id)

    def identify(
        self,
        external_id: str,
        user_alias: UserAlias | None = None,
        *,
        anonymous_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        time: datetime | None = None,
        merge_behavior: MergeBehavior | None = None,
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> Change:
        """Make a person known by `external_id`, and what they did under a user alias or an anonymous id theirs.

        Never joins two identified profiles: that is an `AlreadyIdentified`. `attributes`, which are so since `time`
        (see `ProfileAttributes`), are set together with that, or neither is done.
        """
        items = (AliasToIdentify(external_id, user_alias, anonymous_id, attributes or {}, time),)
        (result,) = self.identify_many(
            items,
            merge_behavior=merge_behavior,
            validate_only=validate_only,
            request_id=request_id,
            timeout=timeout,
        )
        return result.unwrap()

    def identify_many(
        self,
        aliases_to_identify: Iterable[AliasToIdentify],
        *,
        merge_behavior: MergeBehavior | None = None,
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> tuple[ItemResult, ...]:
        """Do `identify` for 1 to 50 items in order, in one transaction, and return what became of each.

        (Braze `POST /users/identify`)
        """
        request = v1.IdentifyRequest(
            aliases_to_identify=map(messages.alias_to_identify, aliases_to_identify),
            merge_behavior=messages.merge_behavior_number(merge_behavior),
            validate_only=validate_only,
            request_id=messages.request_id_text(request_id),
        )
        answer, call_id = self._connection.call(request, v1.IdentifyResponse, timeout)
        return messages.item_results(answer.results, call_id)

    def resolve(
        self, identifier: Identifier, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Resolution:
        """Say whose an identifier is. One that is nobody's is an answer, not an error."""
        request = messages.resolve_request((identifier,), consistency)
        answer, _ = self._connection.call(request, v1.ResolveResponse, timeout)
        return messages.resolution(identifier, answer.resolutions[0])

    def resolve_many(
        self,
        identifiers: Iterable[Identifier],
        *,
        batch_size: int = MOST_RESOLVED,
        in_flight: int = 4,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Generator[Resolution]:
        """Yield whose each identifier is, in order, as answers come.

        Any number of identifiers is taken, as they are needed: `batch_size` (1 to 1000) in each call, and `in_flight`
        calls under way. Who stops early ends those. `timeout` is each call's.
        """
        if not 1 <= batch_size <= MOST_RESOLVED:
            raise ValueError(f"batch_size: {batch_size} is not from 1 to {MOST_RESOLVED}")
        if in_flight < 1:
            raise ValueError(f"in_flight: {in_flight} is not 1 or more")
        if isinstance(identifiers, str):
            raise TypeError("resolve_many takes an iterable of identifiers; for one there is resolve")
        asked = in_order(
            batches(identifiers, batch_size),
            lambda batch: self._connection.start(
                messages.resolve_request(batch, consistency), v1.ResolveResponse, timeout
            ),
            in_flight,
        )
        with closing(asked) as answers:
            for batch, answer in answers:
                for one, whose in zip(batch, answer.resolutions, strict=True):
                    yield messages.resolution(one, whose)

    def get_profile(
        self, identifier: Identifier, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Profile:
        """Return the profile of any identifier, with all its identifiers; `ProfileNotFound` where it is nobody's.

        One that has more than 1000 takes several calls, each with the `timeout`.
        """
        request = messages.get_profile_request(identifier, consistency)
        answer, _ = self._connection.call(request, v1.GetProfileResponse, timeout)
        identifiers = list(answer.profile.identifiers)
        page = answer
        while page.next_page_token:
            request.page_token = page.next_page_token
            page, _ = self._connection.call(request, v1.GetProfileResponse, timeout)
            if page.profile.profile_id != answer.profile.profile_id:  # merged meanwhile, or its identifier moved
                return self.get_profile(identifier, consistency=consistency, timeout=timeout)
            identifiers += page.profile.identifiers
        return messages.profile(answer, identifiers)

    def delete_alias(
        self,
        alias: str | UserAlias,
        *,
        profile_id: str | ProfileId | None = None,
        allow_missing: bool = False,
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> Unlinked:
        """Unlink an identifier, which is free again afterwards.

        Where `profile_id` is given and the identifier is on another profile: `NotOnProfile`. Where it is nobody's:
        `AliasNotFound`, unless `allow_missing`. A primary id and a profile's only identifier stay.
        """
        request = messages.delete_alias_request(
            alias,
            profile_id=profile_id,
            allow_missing=allow_missing,
            validate_only=validate_only,
            request_id=request_id,
        )
        answer, _ = self._connection.call(request, v1.DeleteAliasResponse, timeout)
        return Unlinked(messages.profile_id(answer.profile_id))

    def track(
        self,
        attributes: Iterable[ProfileAttributes] = (),
        *,
        events: Iterable[Event] = (),
        purchases: Iterable[Purchase] = (),
        messages: Iterable[SentMessage] = (),
        validate_only: bool = False,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
    ) -> Tracked:
        """Put data on profiles: up to 75 items of each kind, in this order, in one transaction.

        The call always has a `request_id`, so that a repeat adds nothing twice. Times need a time zone.
        (Braze `POST /users/track`)
        """
        request = data_messages.track_request(
            attributes, events, purchases, messages, validate_only=validate_only, request_id=request_id
        )
        answer, call_id = self._connection.call(request, v1.TrackResponse, timeout)
        return data_messages.tracked(answer, call_id)

    def export_profiles(
        self,
        identifiers: Iterable[Identifier],
        *,
        fields: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> tuple[ExportedProfile | None, ...]:
        """Return all that is kept of 1 to 50 profiles, one for each identifier; None where that is nobody's.

        `fields` names what is wanted: `identifiers`, `attributes`, `push_tokens`, `events`, `purchases`, `messages`,
        `orphaned`; None: all. Much data takes several calls, each with the `timeout`; where a profile was changed
        between them: `Conflict`, call again. (Braze `POST /users/export/ids`)
        """
        asked = tuple(identifiers)
        request = data_messages.export_request(asked, fields)
        page, _ = self._connection.call(request, v1.ExportProfilesResponse, timeout)
        parts = list(page.profiles)
        while page.next_page_token:
            request.page_token = page.next_page_token
            page, _ = self._connection.call(request, v1.ExportProfilesResponse, timeout)
            parts += page.profiles
        found = {place: data_messages.exported_profile(each) for place, each in data_messages.join(parts).items()}
        return tuple(found.get(place) for place in range(len(asked)))

    def import_links(
        self,
        links: Iterable[Link],
        *,
        merge_policy: MergePolicy | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> ImportAccount:
        """Link what any number of links say, in order, and return an account of what was done.

        Links are taken as they are needed, and sent up to 1000 at a time. One that is refused is in the account with
        its error, and the others go on. Where something ends the call when a part was done, the account is not
        `complete`: go on behind the first `links_received` links in another call, which meets that something as its
        error. After an error send again all that there is no account of; a link that is there already changes nothing.
        Nothing is repeated by itself, and there is no deadline unless `timeout` is given. (docs/import-export.md)
        """
        requests = (
            request
            for batch in batches(links, MOST_IMPORTED)
            for request in messages.import_requests(batch, merge_policy, validate_only=validate_only)
        )
        answer, call_id = self._connection.send(requests, v1.ImportLinksRequest, v1.ImportLinksResponse, timeout)
        return messages.import_account(answer, call_id)

    def export_links(self, *, resume_token: str | None = None, timeout: float | None = None) -> Generator[LinkPage]:
        """Yield all links of the workspace in pages, in the order of their identifiers, as they are needed.

        `resume_token` is that of the last page that came, and goes on behind it: after an error, or whenever one
        likes. A `timeout` is for all pages together; without one there is no deadline. Who stops early ends the call.
        Needs the permission `profiles.export`. (docs/import-export.md)
        """
        request = messages.export_request(resume_token)
        with closing(self._connection.receive(request, v1.ExportLinksResponse, timeout)) as pages:
            for page in pages:
                yield messages.link_page(page)

    def close(self) -> None:
        """Let go of the server; calls under way end with an error."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
