"""What a workspace may be like, as far as anybody was told, and whether an answer fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, cast
from uuid import UUID

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo

from aka.server import messages
from aka.server.domain.alias import Alias
from aka.server.domain.create_aliases import CreateAlias
from aka.server.domain.delete_alias import DeleteAlias
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.domain.identify import Identify
from aka.server.domain.import_link import ImportLink
from aka.server.domain.rules import Rules
from aka.v1 import alias_service_pb2 as v1
from tests.domain.model import Answer, Command, Model, Profile, Refused
from tests.histories.operations import Operation

_RULES: Final = Rules()


class Told(NamedTuple):
    """What an answer says of one command."""

    reason: str = ""
    """Why it was refused; empty where it was done."""
    outcome: int = 0
    profile: ProfileId | None = None
    user_id: str = ""
    merged: ProfileId | None = None
    named: Mapping[str, ProfileId] = {}
    """The profile ids in a refusal's metadata."""


class Result(NamedTuple):
    """The same as a model has it."""

    reason: str = ""
    outcome: int = 0
    profile: Profile | None = None
    user_id: str = ""
    merged: Profile | None = None
    named: Mapping[str, Profile | None] = {}

    def through(self, twins: Callable[[Profile], Profile | None]) -> Result:
        """Return the same result with other profiles for its own."""
        return self._replace(
            profile=self.profile and twins(self.profile),
            merged=self.merged and twins(self.merged),
            named={name: profile and twins(profile) for name, profile in self.named.items()},
        )


class Change(NamedTuple):
    """A call that may change something."""

    commands: Sequence[Command]
    alone: bool
    """It is no batch, so that a refusal is the whole call's and is not kept for repeats."""
    trying: bool
    """It is validated only."""
    once: str
    """Its request_id."""
    told: Sequence[Told] | None


class Lookup(NamedTuple):
    """A Resolve and its answer."""

    keys: Sequence[Key]
    told: Sequence[v1.Resolution]


class Page(NamedTuple):
    """A GetProfile and its answer; None where there was no profile."""

    key: Key
    after: Identifier | None
    limit: int
    told: v1.GetProfileResponse | None


Asked = Change | Lookup | Page


def asked(operation: Operation) -> Asked:
    """Take an operation apart."""
    request, answer = operation.request, operation.answer
    match request:
        case v1.ResolveRequest():
            found = answer.resolutions if isinstance(answer, v1.ResolveResponse) else ()
            return Lookup(messages.resolve(request), found)
        case v1.GetProfileRequest():
            nobody = isinstance(answer, ErrorInfo) and answer.reason == "PROFILE_NOT_FOUND"
            page = answer if isinstance(answer, v1.GetProfileResponse) else v1.GetProfileResponse()
            return Page(*messages.get_profile(request), None if nobody else page)
        case v1.AliasRequest():
            commands: Sequence[Any] = [messages.alias(request, _RULES, may_merge=True)]
        case v1.DeleteAliasRequest():
            commands = [messages.delete_alias(request)]
        case v1.BatchAliasRequest():
            commands = messages.batch_alias(request, _RULES, may_merge=True)
        case v1.CreateAliasesRequest():
            commands = messages.create_aliases(request, _RULES)
        case v1.IdentifyRequest():
            commands = messages.identify(request, _RULES, may_write=True)
        case _:
            raise TypeError(f"{operation.method} is not in any history")
    alone = isinstance(request, (v1.AliasRequest, v1.DeleteAliasRequest))
    told = None if answer is None else _told(answer)
    return Change(cast("Sequence[Command]", commands), alone, request.validate_only, request.request_id, told)


def _told(answer: Message) -> list[Told]:
    match answer:
        case ErrorInfo():
            return [Told(answer.reason, named=_named(answer))]
        case v1.AliasResponse():
            merged = _id(answer.merged_profile_id)
            return [Told("", answer.outcome, _id(answer.profile_id), answer.user_id, merged)]
        case v1.DeleteAliasResponse():
            return [Told(profile=_id(answer.profile_id))]
        case v1.BatchAliasResponse() | v1.CreateAliasesResponse() | v1.IdentifyResponse():
            return [_told_of(item) for item in answer.results]
    raise TypeError(f"{type(answer).__name__} answers no change")


def _told_of(item: v1.ItemResult) -> Told:
    if item.WhichOneof("result") == "outcome":
        return Told("", item.outcome, _id(item.profile_id), item.user_id, _id(item.merged_profile_id))
    info = ErrorInfo()
    for detail in item.error.details:
        detail.Unpack(info)
    return Told(info.reason, named=_named(info))


def _named(info: ErrorInfo) -> dict[str, ProfileId]:
    return {name: _uuid(value) for name, value in info.metadata.items() if name.endswith("profile_id")}


class World:
    """A model of the workspace and the answers that are kept for repeats. It is never changed.

    Profiles whose id nobody was told yet have none; the first answer that names one gives it.
    """

    def __init__(self, model: Model, kept: Mapping[str, Sequence[Result]] | None = None) -> None:
        self._model = model
        self._kept = dict(kept or {})
        self._nameless = any(profile.id is None for profile in (*model.profiles, *_dead(model)))
        self.key: Any = None
        """What tells this world from others; equal where they are."""

    @classmethod
    def empty(cls, most: int) -> Self:
        """Return a workspace with nobody in it, where a profile may have so many identifiers and tombstones."""
        return cls(Model(most, frozenset()))._sealed()

    def after(self, asked: Asked) -> World | None:
        """Return the world after a call was done; None where its answer does not fit this one.

        It is this very world where nothing was changed, and nothing learned.
        """
        if isinstance(asked, Change):
            after = self._twin()
            fits = after._change(asked)
        else:
            after = self._twin() if self._nameless else self
            fits = after._look_up(asked) if isinstance(asked, Lookup) else after._read(asked)
        if not fits:
            return None
        if after is self or after._sealed().key == self.key:
            return self
        return after

    def _twin(self) -> World:
        model, twins = self._model.twin()
        kept = {id_: [result.through(twins.__getitem__) for result in results] for id_, results in self._kept.items()}
        return World(model, kept)

    def _sealed(self) -> Self:
        model = self._model
        dead = {profile: number for number, profile in enumerate(_dead(model))}

        def name(profile: Profile | None) -> Any:
            if profile is None or profile.id is not None:
                return profile and profile.id
            return dead.get(profile, frozenset(profile.identifiers))

        def seen(result: Result) -> Any:
            named = frozenset((field, name(profile)) for field, profile in result.named.items())
            return result.reason, result.outcome, name(result.profile), result.user_id, name(result.merged), named

        self.key = (
            frozenset(
                (profile.id, profile.primary, frozenset(profile.identifiers), frozenset(profile.anonymous_ids))
                for profile in model.profiles
            ),
            tuple((tombstone.profile.id, name(tombstone.into)) for tombstone in model.tombstones),
            frozenset((id_, tuple(map(seen, results))) for id_, results in self._kept.items()),
        )
        self._nameless = any(profile.id is None for profile in (*model.profiles, *dead))
        return self

    def _change(self, asked: Change) -> bool:
        if asked.trying:
            scratch, twins = self._model.twin()
            mine = {twin: profile for profile, twin in twins.items()}
            results = [_run(scratch, command).through(mine.get) for command in asked.commands]
        elif asked.once in self._kept:
            results = list(self._kept[asked.once])
        else:
            results = [_run(self._model, command) for command in asked.commands]
            if asked.once and not (asked.alone and results[0].reason):
                self._kept[asked.once] = results
        if asked.told is None:
            return True
        return len(results) == len(asked.told) and all(map(self._fits, results, asked.told))

    def _look_up(self, asked: Lookup) -> bool:
        return len(asked.keys) == len(asked.told) and all(map(self._resolves, asked.keys, asked.told))

    def _resolves(self, key: Key, told: v1.Resolution) -> bool:
        profile = self._model.find(key)
        if profile is None or not told.found:
            return profile is None and told == v1.Resolution()
        return (
            self._is(profile, _id(told.profile_id))
            and (told.user_id, told.identified) == (_primary(profile), profile.identified)
            and told.redirected_from == _redirected_from(key, profile)
        )

    def _read(self, asked: Page) -> bool:
        profile = self._model.find(asked.key)
        if profile is None or asked.told is None:
            return profile is None and asked.told is None
        told = asked.told.profile
        dead = self._model.tombstones_of(profile)[::-1]  # the newest first
        names = sorted(name for name in profile.identifiers if asked.after is None or name > asked.after)
        return (
            self._is(profile, _id(told.profile_id))
            and (told.user_id, told.identified) == (_primary(profile), profile.identified)
            and (told.identifier_count, told.merged_profile_count) == (len(profile.identifiers), len(dead))
            and len(told.merged_profile_ids) == len(dead)
            and all(map(self._is, dead, map(_id, told.merged_profile_ids)))
            and [(_identifier(link.identifier), link.kind) for link in told.identifiers]
            == [(name, _kind(profile, name)) for name in names[: asked.limit]]
            and bool(asked.told.next_page_token) == (len(names) > asked.limit)
            and asked.told.redirected_from == _redirected_from(asked.key, profile)
        )

    def _fits(self, result: Result, told: Told) -> bool:
        if (result.reason, result.outcome, result.user_id) != (told.reason, told.outcome, told.user_id):
            return False
        return (
            self._is(result.profile, told.profile)
            and self._is(result.merged, told.merged)
            and all(self._is(result.named[name], id_) for name, id_ in told.named.items() if name in result.named)
        )

    def _is(self, profile: Profile | None, told: ProfileId | None) -> bool:
        """Whether a profile is the one that was told of; that gives it its id where it has none."""
        if profile is None or told is None:
            return profile is None and told is None
        if profile.id is None and self._model.find(told) is None:
            profile.id = told
        return profile.id == told


def _run(model: Model, command: Command) -> Result:
    try:
        done = model.run(command)
    except Refused as refused:
        found = {name: model.find(key) for name, key in _names(command, refused.reason).items() if key is not None}
        return Result(refused.reason, named=found)
    if isinstance(done, Answer):
        return Result("", done.outcome, done.profile, done.user_id, done.merged)
    return Result(profile=done)


def _names(command: Command, reason: str) -> Mapping[str, Key | None]:
    """Return whose profile ids a refusal's metadata has, by their names there."""
    if reason == "TOO_MANY_IDENTIFIERS":
        return {}
    match command:
        case Alias():
            return {"user_profile_id": command.user, "alias_profile_id": command.alias}
        case Identify():
            return {"profile_id": command.external, "subject_profile_id": command.subject}
        case CreateAlias():
            user = command.external
            return {"profile_id": user, "user_profile_id": user, "alias_profile_id": command.alias}
        case DeleteAlias():
            return {"alias_profile_id": command.alias} | (
                {} if reason == "NOT_ON_PROFILE" else {"profile_id": command.alias}
            )
        case ImportLink():  # no history has one
            return {}


def _dead(model: Model) -> list[Profile]:
    return [tombstone.profile for tombstone in model.tombstones]


def _primary(profile: Profile) -> str:
    return profile.primary.name if profile.primary else ""


def _redirected_from(key: Key, profile: Profile) -> str:
    return "" if isinstance(key, Identifier) or key == profile.id else str(UUID(bytes=key))


def _kind(profile: Profile, identifier: Identifier) -> v1.IdentifierKind.ValueType:
    if identifier.label:
        return v1.IDENTIFIER_KIND_USER_ALIAS
    if identifier == profile.primary:
        return v1.IDENTIFIER_KIND_PRIMARY
    return v1.IDENTIFIER_KIND_ANONYMOUS if identifier in profile.anonymous_ids else v1.IDENTIFIER_KIND_ALIAS


def _identifier(message: v1.Identifier) -> Identifier:
    pair = message.user_alias
    return Identifier(pair.alias_label, pair.alias_name) if pair.alias_label else Identifier("", message.id)


def _id(text: str) -> ProfileId | None:
    return _uuid(text) if text else None


def _uuid(text: str) -> ProfileId:
    return ProfileId(UUID(text).bytes)
