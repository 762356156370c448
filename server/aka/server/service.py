"""The use cases: who asks, with which decisions, and what of it is done only once."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar, cast

from google.protobuf.message import Message

from aka.server.domain.graph import Decision
from aka.server.domain.identifiers import Identifier, Key, checked_uuid
from aka.server.domain.profile_data import Kind
from aka.server.domain.rules import Answer
from aka.server.errors import AkaError
from aka.server.methods import ChangeRequest, Method
from aka.server.store.group import BULK, MAX_DECISIONS
from aka.server.store.store import (
    ActivityPlace,
    AnsweredBefore,
    ApiKey,
    Caller,
    Living,
    Once,
    ProfileData,
    ProfilePage,
    Store,
    StoredLink,
)
from aka.v1 import alias_service_pb2 as v1

M = TypeVar("M", bound=Message)

AT_ONCE: Final = MAX_DECISIONS // 4
"""Links of an import that are done in one transaction: what bulk work gets of a group while calls wait."""
AT_ONCE_IN_COMPANY: Final = AT_ONCE // 4
"""The same while calls come: the event loop does nothing else meanwhile."""
REST: Final = 0.002
"""Seconds that bulk work rests for each call that came while it was done: several times what a call takes."""
ITEM: Final = 5e-6
"""Seconds in which an item is read from its message and answered, beside what the store does."""
WINDOW: Final = 0.1
"""Seconds, at least, over which it is told how many calls come."""
MAX_REST: Final = 0.2
"""Seconds that one piece of bulk work has others rest."""
LONGEST_REST: Final = 1.0
"""Seconds that it rests itself, however many others have to."""
MAX_EXPORT: Final = 512 * 1024
"""Bytes of JSON after which an answer with profiles' data ends: as messages they are six times as many at most."""
MAX_ACTIVITIES: Final = 500
"""Of a profile, in one answer."""
MAX_IDENTIFIERS: Final = 1000
"""Of a profile, in one answer."""
READ_AT_ONCE: Final = 10
"""Profiles whose data is read together."""
MAX_REFUSED: Final = 1000
"""Refused links that end an import: with more, its answer would be larger than a message may be."""


class Session(NamedTuple):
    """One call: whose it is, and until when it may take."""

    method: Method
    key: ApiKey
    request_id: str
    """The call's x-request-id."""
    deadline: float | None
    """On the event loop's clock."""

    def may(self, permission: str) -> bool:
        """Whether the call's key has a permission."""
        return permission in self.key.permissions


class LinkBatch(NamedTuple):
    """Some of the links that are to be imported."""

    decisions: Sequence[Decision[Answer]]
    validate_only: bool


class Imported:
    """What became of the links of an import so far."""

    def __init__(self) -> None:
        self.received = 0
        """How many were done or refused."""
        self.complete = False
        """Whether these are all."""
        self.outcomes: Counter[v1.Outcome.ValueType] = Counter()
        self.refused: list[tuple[int, AkaError]] = []
        """The places of those that were refused, from 0, and why."""

    def add(self, results: Sequence[Answer | AkaError]) -> None:
        """Note what became of the next ones."""
        for place, result in enumerate(results, self.received):
            if isinstance(result, AkaError):
                self.refused.append((place, result))
            else:
                self.outcomes[result.outcome] += 1
        self.received += len(results)


class ExportPlace(NamedTuple):
    """Where an export goes on: at which of its keys, from 0, and behind which of its profile's activities."""

    place: int
    after: ActivityPlace | None


class ExportWanted(NamedTuple):
    """Whose data is exported, and what of it."""

    keys: Sequence[Key]
    fields: Collection[str]
    """Of ExportedProfile."""
    begin: ExportPlace

    @property
    def kinds(self) -> list[Kind]:
        """The activities that are wanted."""
        kinds: tuple[tuple[Kind, str, bool], ...] = (
            ("event", "events", True),
            ("purchase", "purchases", True),
            ("message", "messages", False),
        )
        return [
            kind
            for kind, field, can_be_orphaned in kinds
            if field in self.fields or (can_be_orphaned and "orphaned" in self.fields)
        ]


class ExportedData(NamedTuple):
    """What a key's profile has, or a part of it."""

    place: int
    """The key's."""
    found: ProfileData


class Exported(NamedTuple):
    """A part of an export."""

    found: Sequence[ExportedData]
    not_found: Sequence[int]
    """The places of keys that are nobody's."""
    next: ExportPlace | None
    """Where it goes on; None where it is at its end."""


class Service:
    """Runs decisions and reads for a session, in its workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls = 0
        self._rested_at = 0.0
        self._counted = (0.0, 0), (0.0, 0)
        """Two moments, on the event loop's clock, and how many calls there were by then."""

    async def change(
        self,
        session: Session,
        request: ChangeRequest,
        decisions: Sequence[Decision[Any]],
        respond: Callable[[list[Any]], M],
    ) -> M:
        """Run the decisions in one transaction and return the response that `respond` makes of their results.

        Where the request bears a `request_id` that got an OK answer in the last 24 hours, that answer is returned.
        """
        self._calls += 1
        once = None
        if request.request_id:
            request_id = checked_uuid(request.request_id, "request_id")
            once = Once(request_id, session.method.name, _fingerprint(request), lambda results: _kept(respond, results))
        by = Caller(session.key.id, session.request_id, session.deadline, request.validate_only, once)
        try:
            return respond(await self._store.transact(session.key.workspace, decisions, by))
        except AnsweredBefore as before:
            return cast("M", session.method.response.FromString(before.answer))

    async def import_links(self, session: Session, batches: AsyncIterator[LinkBatch]) -> Imported:
        """Run the decisions of links in order, until there are no more, or something keeps it from going on.

        Raises what that is where nothing was done yet.
        """
        imported = Imported()
        at_once = AT_ONCE
        try:
            async for decisions, validate_only in batches:
                by = Caller(session.key.id, session.request_id, session.deadline, validate_only)
                done = 0
                while done < len(decisions):
                    piece = decisions[done : done + at_once]
                    before = self._calls
                    async with self._bulk(session, len(piece)):
                        imported.add(await self._store.transact(session.key.workspace, piece, by))
                    at_once = AT_ONCE if self._calls == before else AT_ONCE_IN_COMPANY
                    done += len(piece)
                    if len(imported.refused) >= MAX_REFUSED:
                        return imported
            imported.complete = True
        except AkaError:
            if not imported.received:
                raise
        return imported

    @asynccontextmanager
    async def _bulk(self, session: Session, items: int) -> AsyncIterator[None]:
        """Do bulk work, and rest for the calls that came meanwhile, so that they find the event loop free.

        Who has to rest does so after the others who have to, or many would leave no more room than one that does not.
        """
        loop = asyncio.get_running_loop()
        began, before = loop.time(), self._calls
        yield
        now = loop.time()
        # Work that never lets go of the loop sees no call come: so many will have, and wait at its door.
        came = max(self._calls - before, int(self._rate(now) * (now - began + items * ITEM)))
        if came:
            rested_at = max(self._rested_at, now) + min(came * REST, MAX_REST)
            self._rested_at = min(rested_at, now + LONGEST_REST)
            rest = self._rested_at - now
            await asyncio.sleep(rest if session.deadline is None else min(rest, (session.deadline - now) / 2))

    def _rate(self, now: float) -> float:
        """Return how many calls came a second of late."""
        older, newer = self._counted
        if now - newer[0] >= WINDOW:
            self._counted = newer, (now, self._calls)
            older = newer
        at, calls = older
        return (self._calls - calls) / (now - at)

    async def export_links(
        self, session: Session, after: Identifier | None, limit: int
    ) -> AsyncIterator[Sequence[StoredLink]]:
        """Return all links behind an identifier, in pages that are read one by one."""
        while True:
            async with self._bulk(session, limit):
                links = await self._store.list_links(session.key.workspace, after, limit, session.deadline)
            if not links:
                return
            yield links
            after = links[-1].identifier

    async def resolve(self, session: Session, keys: Collection[Key], *, eventual: bool = False) -> Mapping[Key, Living]:
        """Return whose the keys are; those that are nobody's are not in it. What is `eventual` may be late."""
        workspace, deadline = session.key.workspace, session.deadline
        if len(keys) > 4 * BULK:
            async with self._bulk(session, len(keys)):
                return await self._store.resolve(workspace, keys, deadline, eventual=eventual)
        self._calls += 1
        return await self._store.resolve(workspace, keys, deadline, eventual=eventual)

    async def read_profile(
        self, session: Session, key: Key, after: Identifier | None, limit: int, *, eventual: bool = False
    ) -> ProfilePage:
        """Return a page of a key's profile; PROFILE_NOT_FOUND where it is nobody's. What is `eventual` may be late."""
        workspace, deadline = session.key.workspace, session.deadline
        page = await self._store.read_profile(workspace, key, after, limit, deadline, eventual=eventual)
        if page is None:
            raise AkaError(v1.ERROR_REASON_PROFILE_NOT_FOUND, "No profile has this identifier")
        return page

    async def export_profiles(self, session: Session, wanted: ExportWanted) -> Exported:
        """Return the data of keys' profiles, from a place on, as much of it as an answer may have."""
        keys, kinds, (first, after) = wanted.keys, wanted.kinds, wanted.begin
        found: list[ExportedData] = []
        not_found: list[int] = []
        room = MAX_EXPORT
        for start in range(first, len(keys), READ_AT_ONCE):
            places = range(start, min(start + READ_AT_ONCE, len(keys)))
            reads = (
                self._store.read_data(
                    session.key.workspace,
                    keys[place],
                    MAX_IDENTIFIERS if "identifiers" in wanted.fields else 0,
                    kinds,
                    after if place == first else None,
                    MAX_ACTIVITIES,
                    session.deadline,
                )
                for place in places
            )
            for place, read in zip(places, await asyncio.gather(*reads), strict=True):
                if read is None:
                    not_found.append(place)
                    continue
                if room <= 0:
                    return Exported(found, not_found, ExportPlace(place, None))
                fitting, room = fit(read, room)
                found.append(ExportedData(place, fitting))
                if fitting.more:
                    origin, number, activity = fitting.data.activities[-1]
                    return Exported(found, not_found, ExportPlace(place, ActivityPlace(activity.at, origin, number)))
        return Exported(found, not_found, None)


def fit(read: ProfileData, room: int) -> tuple[ProfileData, int]:
    """Return what fits of a profile's data into so many bytes of JSON, and the room that is left.

    Only activities are left out, and not the first.
    """
    data = read.data
    room -= sum(len(name) + len(value) for own in data.attributes.values() for name, (value, _) in own.items())
    for count, (_, _, activity) in enumerate(data.activities):
        if room <= 0 and count:
            fewer = data._replace(activities=data.activities[:count])
            return read._replace(data=fewer, more=True), room
        room -= len(activity.name) + len(activity.details)
    return read, room


def _fingerprint(request: ChangeRequest) -> bytes:
    """Return what tells one body from another; the request id itself may be written in any case."""
    body = type(request)()
    body.CopyFrom(request)  # type: ignore[arg-type]
    body.request_id = ""
    return hashlib.sha256(body.SerializeToString(deterministic=True)).digest()


def _kept(respond: Callable[[list[Any]], Message], results: list[Any]) -> bytes | None:
    try:
        return respond(results).SerializeToString()
    except AkaError:
        return None
