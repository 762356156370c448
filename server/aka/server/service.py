"""The use cases: who asks, with which decisions, and what of it is done only once."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from google.protobuf.message import Message

from aka.server.domain.graph import Decision
from aka.server.domain.identifiers import Identifier, Key, checked_uuid
from aka.server.errors import AkaError
from aka.server.methods import ChangeRequest, Method
from aka.server.store.store import AnsweredBefore, ApiKey, Caller, Living, Once, ProfilePage, Store
from aka.v1 import alias_service_pb2 as v1

M = TypeVar("M", bound=Message)


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


class Service:
    """Runs decisions and reads for a session, in its workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        once = None
        if request.request_id:
            request_id = checked_uuid(request.request_id, "request_id")
            once = Once(request_id, session.method.name, _fingerprint(request), lambda results: _kept(respond, results))
        by = Caller(session.key.id, session.request_id, session.deadline, request.validate_only, once)
        try:
            return respond(await self._store.transact(session.key.workspace, decisions, by))
        except AnsweredBefore as before:
            return cast("M", session.method.response.FromString(before.answer))

    async def resolve(self, session: Session, keys: Collection[Key], *, eventual: bool = False) -> Mapping[Key, Living]:
        """Return whose the keys are; those that are nobody's are not in it. What is `eventual` may be late."""
        return await self._store.resolve(session.key.workspace, keys, session.deadline, eventual=eventual)

    async def read_profile(
        self, session: Session, key: Key, after: Identifier | None, limit: int, *, eventual: bool = False
    ) -> ProfilePage:
        """Return a page of a key's profile; PROFILE_NOT_FOUND where it is nobody's. What is `eventual` may be late."""
        workspace, deadline = session.key.workspace, session.deadline
        page = await self._store.read_profile(workspace, key, after, limit, deadline, eventual=eventual)
        if page is None:
            raise AkaError(v1.ERROR_REASON_PROFILE_NOT_FOUND, "No profile has this identifier")
        return page


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
