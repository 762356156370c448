"""What a user would write instead of aka: the same tables behind FastAPI and SQLAlchemy, with care for speed.

`POST /alias` links an id to a user's profile, which is made where the user is unknown; `POST /resolve` says whose an id
is. Each request has a session of its own. SQLite is as aka has it: WAL, synchronous=FULL, foreign keys checked, and one
connection that writes, for which requests wait in the pool and not in SQLite. Endpoints are plain functions in a few
threads, which took less of the processor here than FastAPI's usual 40, and than asyncio over aiosqlite. It has one API
key, and no merges, no limits, no metrics.
"""

import os
import secrets
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import anyio.to_thread
import uuid_utils
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKeyConstraint, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship, sessionmaker

from benchmarks.bare_rest import serve

WORKSPACE: Final = 1
THREADS: Final = 6


class Base(DeclarativeBase):
    """The tables' registry."""


class Profile(Base):
    """A profile."""

    __tablename__ = "profiles"
    workspace: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[bytes] = mapped_column(primary_key=True)
    survivor: Mapped[bytes]
    primary_id: Mapped[str | None]
    identifiers: Mapped[int]
    user_aliases: Mapped[int] = mapped_column(default=0)
    tombstones: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[int]
    updated_at: Mapped[int]


class Identifier(Base):
    """An identifier of a profile."""

    __tablename__ = "identifiers"
    workspace: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True, default="")
    name: Mapped[str] = mapped_column(primary_key=True)
    origin: Mapped[bytes]
    anonymous: Mapped[int] = mapped_column(default=0)
    linked_at: Mapped[int]
    profile: Mapped[Profile] = relationship()
    __table_args__ = (ForeignKeyConstraint(["workspace", "origin"], ["profiles.workspace", "profiles.id"]),)


class Entry(Base):
    """An entry of the journal."""

    __tablename__ = "journal"
    workspace: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int]
    api_key: Mapped[bytes] = mapped_column(default=bytes(16))
    request: Mapped[str]
    kind: Mapped[str]
    profile: Mapped[bytes]
    label: Mapped[str] = mapped_column(default="")
    name: Mapped[str]
    flag: Mapped[int]
    anonymous: Mapped[int] = mapped_column(default=0)


Id = Annotated[str, Field(min_length=1, max_length=400)]


class Link(BaseModel):
    """What is to be linked."""

    user_id: Id
    alias_id: Id


class Linked(BaseModel):
    """What was done."""

    user_id: str
    alias_id: str
    profile_id: UUID
    outcome: Literal["created", "linked", "already_linked"]


class Asked(BaseModel):
    """Whose profile is asked for."""

    id: Id


class Resolution(BaseModel):
    """Whose it is."""

    profile_id: UUID
    user_id: str | None
    identified: bool


def sessions(database: str, begin: str, connections: int) -> "sessionmaker[Session]":
    """Return what makes sessions over so many connections, whose transactions begin so."""
    engine = create_engine(
        f"sqlite:///{database}", pool_size=connections, max_overflow=0, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16384"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_it(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return sessionmaker(engine, expire_on_commit=False)


def create_app(database: str, key: str) -> FastAPI:
    """Return the application over a file that has aka's tables."""
    readers, writers = sessions(database, "BEGIN", THREADS), sessions(database, "BEGIN IMMEDIATE", 1)
    bearer = HTTPBearer()

    async def check(given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> None:
        if not secrets.compare_digest(given.credentials.encode(), key.encode()):
            raise HTTPException(401, "The API key is not known")

    @asynccontextmanager
    async def bounded(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    app = FastAPI(dependencies=[Depends(check)], lifespan=bounded)

    @app.post("/alias")
    def alias(asked: Link) -> Linked:
        with writers() as session, session.begin():
            return link(session, asked)

    @app.post("/resolve")
    def resolve(asked: Asked) -> Resolution:
        with readers() as session:
            profile = find(session, asked.id).get(asked.id)
        if profile is None:
            raise HTTPException(404, "Nobody has this id")
        identified = profile.primary_id is not None
        return Resolution(profile_id=UUID(bytes=profile.id), user_id=profile.primary_id, identified=identified)

    return app


_ORIGIN: Final = aliased(Profile)
_FIND: Final = (
    select(Identifier.name, Profile)
    .join(_ORIGIN, (_ORIGIN.workspace == Identifier.workspace) & (_ORIGIN.id == Identifier.origin))
    .join(Profile, (Profile.workspace == _ORIGIN.workspace) & (Profile.id == _ORIGIN.survivor))
    .where(Identifier.workspace == WORKSPACE, Identifier.label == "")
)


def find(session: Session, *names: str) -> dict[str, Profile]:
    """Return the living profiles that have ids; those that nobody has are not in it."""
    return {name: profile for name, profile in session.execute(_FIND.where(Identifier.name.in_(names)))}


def link(session: Session, asked: Link) -> Linked:
    """Link an id to a profile."""
    now = time.time_ns() // 1000
    found = find(session, asked.user_id, asked.alias_id)
    profile, other = found.get(asked.user_id), found.get(asked.alias_id)
    if other is not None:
        if profile is not other:
            raise HTTPException(409, "alias_id is another profile's")
        return Linked(**asked.model_dump(), profile_id=UUID(bytes=other.id), outcome="already_linked")
    last = session.scalar(select(func.max(Entry.sequence)).where(Entry.workspace == WORKSPACE)) or 0
    names = [asked.alias_id]
    if profile is None:
        names.insert(0, asked.user_id)
        made = uuid_utils.uuid7().bytes
        profile = Profile(
            workspace=WORKSPACE, id=made, survivor=made, primary_id=asked.user_id, identifiers=0, created_at=now
        )
        session.add(profile)
    profile.identifiers += len(names)
    profile.updated_at = now
    request = str(uuid_utils.uuid4())
    for sequence, name in enumerate(names, last + 1):
        is_new = name == asked.user_id
        session.add_all(
            [
                Identifier(profile=profile, name=name, linked_at=now),
                Entry(
                    workspace=WORKSPACE,
                    sequence=sequence,
                    at=now,
                    request=request,
                    kind="created" if is_new else "linked",
                    profile=profile.id,
                    name=name,
                    flag=is_new,
                ),
            ]
        )
    outcome: Literal["created", "linked"] = "created" if len(names) == 2 else "linked"
    return Linked(**asked.model_dump(), profile_id=UUID(bytes=profile.id), outcome=outcome)


if __name__ == "__main__":
    serve(create_app(sys.argv[1], os.environ["AKA_BOOTSTRAP_API_KEY"]))
