"""The values that bugs send as ids: `null`, `undefined`, zeros and their like."""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

QUOTES = "'\"`"


@dataclass(frozen=True, slots=True)
class ReservedList:
    """A list of values that are refused as new ids; `reserved.txt` says how one is written."""

    any_case: frozenset[str] = frozenset()
    exactly: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list; ValueError names the first line that is no rule."""
        rules: dict[str, set[str]] = {"any-case": set(), "exactly": set(), "pattern": set()}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            how, _, what = line.partition(" ")
            if how not in rules or not what:
                raise ValueError(f"line {number} is no rule: any-case VALUE, exactly VALUE or pattern REGEX")
            rules[how].add(what)
        try:
            patterns = tuple(re.compile(pattern) for pattern in sorted(rules["pattern"]))
        except re.error as error:
            raise ValueError(f"pattern {error.pattern!r} is no regular expression: {error}") from None
        return cls(
            any_case=frozenset(value.casefold() for value in rules["any-case"]),
            exactly=frozenset(rules["exactly"]),
            patterns=patterns,  # not joined into one, where their flags and group numbers would clash
        )

    @classmethod
    def default(cls) -> Self:
        """Return the list that aka comes with."""
        return cls.parse(files(__package__).joinpath("reserved.txt").read_text(encoding="utf-8"))

    def __contains__(self, value: str) -> bool:
        if len(value) >= 2 and value[0] == value[-1] and value[0] in QUOTES and self._has(value[1:-1]):
            return True
        return self._has(value)

    def _has(self, value: str) -> bool:
        if value in self.exactly or value.casefold() in self.any_case:
            return True
        for pattern in self.patterns:  # noqa: SIM110  # no generator: every new id passes here
            if pattern.fullmatch(value):
                return True
        return False
