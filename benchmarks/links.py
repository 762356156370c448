"""A file of links to import, and whether an export of it is whole."""

import csv
from pathlib import Path

from benchmarks.load import LoadFailed


def user(number: int) -> str:
    """Return the user of a line; two lines have the same."""
    return f"user-{number // 2:08}"


def alias(number: int) -> str:
    """Return the alias of a line."""
    return f"alias-{number:08}"


def write(file: Path, lines: int, first: int = 0) -> None:
    """Write a CSV file of links, whose numbers begin with an even one."""
    with file.open("w") as out:
        out.write("user_id,alias_id\n")
        out.writelines(f"{user(number)},{alias(number)}\n" for number in range(first, first + lines))


def compare(file: Path, lines: int) -> None:
    """Raise LoadFailed where an export has not every link of `write` once, and no other."""
    expected = {(user(number), alias(number)) for number in range(lines)}
    expected |= {(user(number), "") for number in range(0, lines, 2)}
    with file.open(newline="") as exported:
        found = [(link["user_id"], link["alias_id"]) for link in csv.DictReader(exported)]
    if len(found) != len(expected) or set(found) != expected:
        raise LoadFailed(f"an export of {len(expected)} links has {len(found)}, {len(set(found) & expected)} of them")
