"""docs/import-export.md: its example, columns, files and exit codes are those of the commands."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

from aka.server import link_commands
from aka.server.link_rows import COLUMNS
from aka.v1 import alias_service_pb2 as v1
from tests.cli.command import KEY, serving
from tests.docs.pages import BIN, code, examples, masked, read, table

PAGE: Final = "docs/import-export.md"


def test_the_example_gives_the_answer_that_it_shows(tmp_path: Path) -> None:
    ((command, answer),) = examples(PAGE)
    with serving(cwd=tmp_path) as server:
        env = {"AKA_SERVER": server.address, "AKA_API_KEY": KEY, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        ran = subprocess.run(["sh", "-euc", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        assert server.stop().code == 0
    assert masked([ran.stdout]) == masked([answer])
    assert [*json.loads(ran.stdout)] == [*json.loads(answer)]


def test_the_columns_are_those_of_the_files() -> None:
    assert [code(name)[0] for name, _ in _rows("| column | what it has |")] == list(COLUMNS)


def test_the_exit_codes_are_those_of_the_commands() -> None:
    told = {int(number) for number, _ in _rows("| exit code | what it means |")}
    assert told == {0, 1, 2, link_commands.REJECTED, *link_commands._CODES.values()}


def test_the_proto_and_the_page_tell_of_the_same_fields() -> None:
    assert [code(row[0])[0] for row in table(PAGE, "## What a link is")] == [*v1.Link.DESCRIPTOR.fields_by_name]


def _rows(head: str) -> list[list[str]]:
    """Return the rows of the table with a head."""
    _, found, rest = read(PAGE).partition(f"\n{head}\n")
    assert found, f"no table {head}"
    lines = rest.splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[:end]]
