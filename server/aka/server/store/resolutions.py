"""Whose keys are, kept in memory after it was read, until it changes: for a store that sees every change."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from aka.server.domain.changes import Change, Identified, Merged, Unlinked
from aka.server.domain.identifiers import Key, ProfileId
from aka.server.metrics import CacheMetrics
from aka.server.store.store import Living, Workspace

MOVES: Final = frozenset({Unlinked, Identified, Merged})
"""The kinds of changes that move a key. All others give a profile a key that was nobody's."""


class Resolutions:
    """Keeps at most `most` keys with the profiles that they resolve to; the one asked for longest ago goes first.

    What it tells is what is committed, exactly. The store says what a transaction moves before its COMMIT begins
    (`move`), and when that has ended, however it has (`moved`); in between, what moves is neither told nor kept, since
    the one read beside COMMIT may see the old and the next the new. Keys that are nobody's are not kept, so that a
    change which only adds keys moves nothing. All of it is done on one thread.

    A profile that moves takes all its keys with it, and nobody needs to know them: a key is told only while the very
    `Living` that it is kept with is the one that its profile is known by.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Workspace, Key], Living] = OrderedDict()
        self._known: OrderedDict[ProfileId, Living] = OrderedDict()
        self._moving: Collection[tuple[Workspace, Key] | ProfileId] = ()
        self._suspended = False
        self.version = 0
        """Another number whenever something moves or has moved: what was read before may be of a time that is past."""
        self.hits = 0
        self.misses = 0

    def find(self, workspace: Workspace, keys: Collection[Key]) -> tuple[dict[Key, Living], Collection[Key]]:
        """Return whose the keys are that are kept, and the others, which must be read."""
        if not self._kept:
            self.misses += len(keys)
            return {}, keys
        found: dict[Key, Living] = {}
        missed: list[Key] = []
        kept, known = self._kept, self._known
        for key in keys:
            place = (workspace, key)
            living = kept.get(place)
            if living is not None and known.get(living.id) is living:
                kept.move_to_end(place)
                found[key] = living
            else:
                missed.append(key)
        self.hits += len(found)
        self.misses += len(missed)
        return found, missed

    def keep(self, workspace: Workspace, found: Mapping[Key, Living]) -> None:
        """Keep what was read, while `version` was what it is."""
        if self._suspended:
            return
        moving = self._moving
        for key, living in found.items():
            place = (workspace, key)
            if moving and (place in moving or living.id in moving):
                continue
            self._kept[place] = self._known.setdefault(living.id, living)
        for kept in (self._kept, self._known):
            while len(kept) > self._most:
                kept.popitem(last=False)

    def move(self, changes: Iterable[tuple[Workspace, Iterable[Change]]]) -> None:
        """Forget what these changes move; they are about to be committed."""
        self.version += 1
        moving = self._moving = set(_moved_by(changes))
        for each in moving:
            if isinstance(each, tuple):
                self._kept.pop(each, None)
            else:
                self._known.pop(each, None)

    def suspend(self) -> None:
        """Forget all, and keep nothing until `moved`: what is about to be committed is not known yet."""
        self.version += 1
        self._suspended = True
        self._kept.clear()
        self._known.clear()

    def moved(self) -> None:
        """What was to be committed is, or is not."""
        if self._moving or self._suspended:
            self.version += 1
            self._moving = ()
            self._suspended = False

    def measure(self) -> CacheMetrics:
        """Return how often a key was kept, and how many are."""
        return CacheMetrics(self.hits, self.misses, len(self._kept))


def _moved_by(changes: Iterable[tuple[Workspace, Iterable[Change]]]) -> Iterator[tuple[Workspace, Key] | ProfileId]:
    for workspace, made in changes:
        for change in made:
            match change:
                case Unlinked():
                    yield workspace, change.identifier
                case Identified():
                    yield change.profile
                case Merged():
                    yield from (change.loser, change.survivor)
