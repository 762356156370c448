"""A file of links imported and exported with aka's commands, and the same rows written and read by raw sqlite3."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.load import LoadFailed
from benchmarks.servers import Server

AKA: Final = Path(sys.executable).with_name("aka")


def user(number: int) -> str:
    """Return the user of a line; two lines have the same."""
    return f"user-{number // 2:08}"


def alias(number: int) -> str:
    """Return the alias of a line."""
    return f"alias-{number:08}"


def write(file: Path, lines: int) -> None:
    """Write a CSV file of links."""
    with file.open("w") as out:
        out.write("user_id,alias_id\n")
        out.writelines(f"{user(number)},{alias(number)}\n" for number in range(lines))


def run(server: Server, key: str, command: str, file: Path) -> float:
    """Run `aka import` or `aka export` on a file, and return the seconds that it took."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")}
    environment |= {"AKA_API_KEY": key, "AKA_SERVER": server.address}
    began = time.perf_counter()
    done = subprocess.run([AKA, command, file, "--quiet"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"aka {command}: {done.stderr.strip()}")
    return time.perf_counter() - began


def compare(file: Path, lines: int) -> None:
    """Raise LoadFailed where an export has not every link of `write` once, and no other."""
    expected = {(user(number), alias(number)) for number in range(lines)}
    expected |= {(user(number), "") for number in range(0, lines, 2)}
    with file.open(newline="") as exported:
        found = [(link["user_id"], link["alias_id"]) for link in csv.DictReader(exported)]
    if len(found) != len(expected) or set(found) != expected:
        raise LoadFailed(f"an export of {len(expected)} links has {len(found)}, {len(set(found) & expected)} of them")
