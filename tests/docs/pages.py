"""A page's parts, and its examples run as a reader would."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.cli.command import KEY, serving

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent

PART: Final = re.compile(
    r"^#+ (?P<heading>[^\n]*)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
VARIES: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z")
"""UUIDs and times."""


class Block(NamedTuple):
    """A fenced block, under its nearest heading."""

    heading: str
    language: str
    text: str


class Example(NamedTuple):
    """A command of a page and the answer that it shows."""

    command: str
    answer: str


def read(page: str) -> str:
    """Return a page's text, by its path in the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Return a page's fenced blocks in order."""
    heading, found = "", []
    for part in PART.finditer(read(page)):
        if part["heading"] is None:
            found.append(Block(heading, part["language"], part["text"]))
        else:
            heading = part["heading"]
    return found


def examples(page: str) -> list[Example]:
    """Return a page's shell blocks that have their answer, a JSON block, right behind them."""
    return [
        Example(block.text, following.text)
        for block, following in pairwise(blocks(page))
        if (block.language, following.language) == ("sh", "json")
    ]


def prose(page: str) -> str:
    """Return a page without its blocks."""
    return PART.sub(lambda part: part[0] if part["heading"] else "", read(page))


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its head."""
    _, found, section = read(page).partition(f"\n{heading}\n")
    assert found, f"no heading {heading}"
    rows = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert rows is not None, f"no table under {heading}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[0].splitlines()[2:]]


def code(cell: str) -> list[str]:
    """Return what a cell has in backquotes."""
    return re.findall(r"`([^`\n]+)`", cell)


def masked(answers: Sequence[str]) -> list[Any]:
    """Return the answers with each UUID and time replaced by its number in the order of first appearance."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], f"<{len(numbers)}>")

    return [json.loads(VARIES.sub(number, json.dumps(json.loads(answer), sort_keys=True))) for answer in answers]


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """Serve aka over an empty database in a folder; yields the variables that pages' commands use."""
    with serving(cwd=folder, settings={"rest_address": "127.0.0.1:0"}) as server:
        yield {
            "AKA": f"http://{server.address}/aka.v1.AliasService",
            "REST": f"http://{server.rest}",
            "AKA_KEY": KEY,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        assert server.stop().code == 0


def run(command: str, variables: Mapping[str, str], folder: Path) -> str:
    """Run a command as pasted and return what it prints: an error, where it has no answer."""
    ran = subprocess.run(
        ["sh", "-c", command], env=os.environ | variables, cwd=folder, capture_output=True, text=True, timeout=30
    )
    return ran.stdout or ran.stderr
