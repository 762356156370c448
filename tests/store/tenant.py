"""One workspace of a store, asked as a caller would."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aka.server.domain.graph import Decision, Graph, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId, id_of
from aka.server.domain.profile_data import Kind
from aka.server.errors import AkaError
from aka.server.store.store import (
    ActivityPlace,
    Caller,
    Living,
    Once,
    ProfileData,
    ProfilePage,
    Store,
    StoredLink,
    Workspace,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """A decision that changes nothing and answers with the graph that it was shown."""

    keys: tuple[Key, ...]
    labels_of: None = None

    def decide(self, graph: Graph) -> tuple[Graph, tuple[()]]:
        return graph, ()


@dataclass(frozen=True)
class Tenant:
    store: Store
    workspace: Workspace

    async def batch(
        self, *decisions: Decision[Any], validate_only: bool = False, once: Once | None = None
    ) -> list[Any]:
        """Run one caller's decisions; an answer or a refusal for each."""
        by = Caller(b"key", "request", validate_only=validate_only, once=once)
        return await self.store.transact(self.workspace, decisions, by)

    async def together(self, *decisions: Decision[Any]) -> list[Any]:
        """Run the decisions of as many callers, who all ask at once; an answer or a refusal for each."""
        return [result for [result] in await asyncio.gather(*map(self.batch, decisions))]

    async def do(self, decision: Decision[T], *, validate_only: bool = False) -> T:
        """Run one caller's one decision; raise its refusal."""
        [result] = await self.batch(decision, validate_only=validate_only)
        if isinstance(result, AkaError):
            raise result
        answer: T = result
        return answer

    async def refused(self, decision: Decision[Any]) -> str:
        """Run a decision that is to be refused, and return the reason."""
        [result] = await self.batch(decision)
        assert isinstance(result, AkaError), result
        return result.name

    async def look(self, *keys: Key) -> Graph:
        """Return the graph that a decision on these keys is shown."""
        return await self.do(Look(keys))

    async def find(self, key: str | Key) -> Profile | None:
        """Return whose an id, a user alias or a profile id is."""
        key = id_of(key) if isinstance(key, str) else key
        return (await self.look(key)).find(key)

    async def header(self, key: str | Key) -> Profile:
        """Return whose a key is that is somebody's."""
        profile = await self.find(key)
        assert profile is not None, f"{key!r} is nobody's"
        return profile

    async def resolve(self, keys: Collection[Key]) -> Mapping[Key, Living]:
        """Return whose the keys are that are somebody's."""
        return await self.store.resolve(self.workspace, keys, None)

    async def whose(self, *keys: str | Key) -> list[ProfileId | None]:
        """Return the profile of each key, looked up together."""
        wanted = [id_of(key) if isinstance(key, str) else key for key in keys]
        found = await self.resolve(wanted)
        return [found[key].id if key in found else None for key in wanted]

    async def page(self, key: str | Key, after: Identifier | None = None, limit: int = 1000) -> ProfilePage:
        """Return a page of a key's profile."""
        key = id_of(key) if isinstance(key, str) else key
        page = await self.store.read_profile(self.workspace, key, after, limit, None)
        assert page is not None, f"{key!r} is nobody's"
        return page

    async def data(self, key: str | Key, after: ActivityPlace | None = None, limit: int = 1000) -> ProfileData:
        """Return the data of a key's profile."""
        key = id_of(key) if isinstance(key, str) else key
        kinds: tuple[Kind, ...] = ("event", "purchase", "message")
        found = await self.store.read_data(self.workspace, key, 1000, kinds, after, limit, None)
        assert found is not None, f"{key!r} is nobody's"
        return found

    async def links(self, after: Identifier | None = None, limit: int = 1000) -> list[StoredLink]:
        """Return a page of the workspace's links."""
        return list(await self.store.list_links(self.workspace, after, limit, None))

    async def identifiers(self, key: str | Key) -> list[Identifier]:
        """Return all identifiers of a key's profile, which are at most 1000, in the store's order."""
        page = await self.page(key)
        assert not page.more
        return [identifier for identifier, _ in page.identifiers]
