"""Two things measured in turn: rounds, their ratios, and what a figure must reach."""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    seconds: float
    """Of load, a side of a round."""
    warm: float
    """Seconds of these that are not counted."""
    most: int
    """Calls of load, a side of a round; or items, where a call has many."""
    ids: int
    """Identifiers that Resolve finds its own among."""
    bulk_rounds: int
    """Of calls that do much at once."""
    merge_rounds: int
    merges: int
    """Merges, a side of a round."""
    lines: int
    """Of the file that is imported, once."""
    many: int
    """Identifiers or tombstones of the larger of the profiles that are merged."""
    grown: int
    """Identifiers of a database that has grown from one with `ids`."""
    nearly_full: int
    """Identifiers of a profile that is near the highest cap."""
    slices: int
    """Of a run that shows whether memory grows: at least 4, of which the first two are not counted."""
    slice: int
    """Calls of each."""
    crowds: int
    """Rounds of the times of calls that others crowd."""


FULL: Final = Scale(
    rounds=13,
    seconds=1.1,
    warm=0.2,
    most=2_000_000,
    ids=100_000,
    bulk_rounds=7,
    merge_rounds=5,
    merges=6,
    lines=1_000_000,
    many=1000,
    grown=5_000_000,
    nearly_full=9_900,
    slices=10,
    slice=100_000,
    crowds=5,
)
SHORT: Final = Scale(
    rounds=1,
    seconds=10.0,
    warm=0.0,
    most=300,
    ids=1_000,
    bulk_rounds=1,
    merge_rounds=1,
    merges=3,
    lines=2_000,
    many=20,
    grown=10_000,
    nearly_full=100,
    slices=4,
    slice=200,
    crowds=1,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one side of a round came to."""

    value: float
    """The number that goes into the ratio."""
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """Both sides of a round."""

    aka: Sample
    beside: Sample

    @property
    def ratio(self) -> float:
        """The one by the other."""
        return self.aka.value / self.beside.value


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table: what was measured, what it must reach, and what it came to."""

    row: str
    what: str
    unit: str
    floor: float
    goal: float
    rounds: Sequence[Round]
    lower_is_better: bool = False

    @property
    def ratios(self) -> list[float]:
        """All rounds' ratios, in order."""
        return [each.ratio for each in self.rounds]

    @property
    def median(self) -> float:
        """What the figure is."""
        return statistics.median(self.ratios)

    @property
    def processor_ratio(self) -> float | None:
        """The same ratio by the servers' processor time a call, which foreign load moves less; None without servers."""
        name = "server_cpu_us"
        if self.lower_is_better or not all(
            each.aka.details.get(name) and name in each.beside.details for each in self.rounds
        ):
            return None
        return statistics.median(each.beside.details[name] / each.aka.details[name] for each in self.rounds)

    @property
    def held(self) -> bool:
        """Whether the floor holds."""
        return self._reaches(self.floor)

    @property
    def verdict(self) -> str:
        """Return `short`, `held`, or `goal` where that is reached too."""
        return ("goal" if self._reaches(self.goal) else "held") if self.held else "short"

    def _reaches(self, mark: float) -> bool:
        return self.median <= mark if self.lower_is_better else self.median >= mark


def in_turn(rounds: int, aka: Callable[[], Sample], beside: Callable[[], Sample]) -> list[Round]:
    """Measure both in each round, in an order that is drawn anew, after a first time that does not count."""
    return [Round(*measured.values()) for measured in all_in_turn(rounds, {"aka": aka, "beside": beside})]


def all_in_turn(rounds: int, sides: Mapping[str, Callable[[], Sample]]) -> list[dict[str, Sample]]:
    """Measure all sides in each round, in an order that is drawn anew, after a first time that does not count."""
    for measure in sides.values():
        measure()
    measured = []
    for _ in range(rounds):
        samples = {name: sides[name]() for name in random.sample([*sides], len(sides))}
        measured.append({name: samples[name] for name in sides})
    return measured
