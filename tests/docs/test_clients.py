"""docs/clients.md: its Python is run, and its tables are those of the code."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

from aka.client import AkaError, AsyncClient
from aka.server.alias_commands import COMMANDS
from aka.server.command_items import EXIT_CODES
from tests.cli.command import KEY, environment, serving
from tests.docs.pages import BIN, blocks, code, examples, masked, read, run, table

PAGE = "docs/clients.md"
HERE = "127.0.0.1:50051"
KEY_SHOWN = "the-key-that-make-serve-showed"


def test_the_pages_python_runs_from_top_to_bottom_and_prints_what_it_says(tmp_path: Path) -> None:
    python = [block.text for block in blocks(PAGE) if block.language == "python" and HERE in block.text]
    script = "\n".join(python)
    told = [line.partition("  # ")[2] for line in script.splitlines() if "print(" in line and ")  # " in line]
    assert told == ["user_123", "user_123", "['user_123']", "who the two are"]
    with serving(cwd=tmp_path) as server:
        script = script.replace(HERE, server.address).replace(KEY_SHOWN, KEY)
        env = environment(api_key=KEY)
        ran = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False
        )
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout.splitlines()
    assert printed[:2] == told[:2]
    assert told[2] in printed
    first, second = next(line.split() for line in printed if line.count("-") == 8)  # two profile ids
    assert first != second


def test_the_table_of_calls_has_every_method_with_its_first_parameters() -> None:
    methods = [name for name in vars(AsyncClient) if not name.startswith("_") and name != "aclose"]
    shown = [code(row[0])[0] for row in table(PAGE, "### Calls")]
    assert [call.partition("(")[0] for call in shown] == methods
    for call in shown:
        name, _, given = call.rstrip(")").partition("(")
        parameters = [*inspect.signature(getattr(AsyncClient, name)).parameters][1:]
        named = given.split(", ") if given else []
        assert named == parameters[: len(named)]


def test_the_commands_of_the_page_give_the_answers_that_it_shows(tmp_path: Path) -> None:
    shown = examples(PAGE)
    with serving(cwd=tmp_path, settings={"rest_address": "127.0.0.1:0"}) as server:
        called = {"AKA_SERVER": server.address, "AKA_REST": server.rest, "AKA_API_KEY": KEY}
        variables = called | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        answers = [run(example.command, variables, tmp_path) for example in shown]
    assert masked(answers) == masked([example.answer for example in shown])


def test_the_table_of_commands_is_the_commands() -> None:
    told = [code(row[0])[0].split()[1] for row in table(PAGE, "## The command line")]
    assert sorted(told) == sorted(str(command.name) for command in COMMANDS)


def test_the_table_of_exit_codes_is_that_of_the_commands() -> None:
    _, _, section = read(PAGE).partition("The exit code is the first failure's:\n\n")
    rows = [line.strip("| ").split(" | ") for line in section.splitlines()[2:] if line.startswith("|")]
    assert rows == [["0", "done"], *([str(exit_code), told] for exit_code, (told, _) in EXIT_CODES.items())]


def test_the_table_of_errors_has_every_attribute() -> None:
    shown = {name for row in table(PAGE, "### Errors") for name in code(row[0])}
    properties = {name for name, value in vars(AkaError).items() if isinstance(value, property)}
    assert shown == {*AkaError.__annotations__, *properties}
