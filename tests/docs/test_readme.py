"""What the documents say, held against what is there: README's commands are run and its answers compared."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import pytest
from google.rpc import code_pb2

from aka.server.__main__ import main
from aka.server.config import SETTINGS
from aka.server.errors import PREFIX, STATUS
from aka.server.methods import METHODS
from aka.v1 import alias_service_pb2 as v1

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
KEY: Final = "the-key-that-readme-is-tested-with"

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
DECISIONS: Final = sorted((ROOT / "docs/decisions").glob("*.md"))

BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIES: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z")
"""UUIDs and times."""
LINK: Final = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
TARGET: Final = re.compile(r"^make ([a-z-]+)", re.MULTILINE)
OUTSIDE: Final = re.compile(r"(?<![\w.:/-])/(?:work|home|root|Users)/[\w.-]+")


class Example(NamedTuple):
    """A command of a document and the answer that it shows."""

    command: str
    answer: str


def examples(document: str) -> list[Example]:
    """Return a document's shell blocks that have their answer, a JSON block, right behind them."""
    blocks = [(match[1], match[2]) for match in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8"))]
    return [
        Example(command, answer)
        for (language, command), (next_language, answer) in pairwise(blocks)
        if language == "sh" and next_language == "json"
    ]


DOCUMENTS: Final = {document: examples(document) for document in ("README.md", "docs/rest.md")}
"""Each is run from an empty database, in order."""
EXAMPLES: Final = DOCUMENTS["README.md"]


def masked(answers: Sequence[str]) -> list[Any]:
    """Return the answers with each UUID and time replaced by its number in the order of first appearance."""
    numbers: dict[str, str] = {}
    return [json.loads(VARIES.sub(lambda found: numbers.setdefault(found[0], f"<{len(numbers)}>"), a)) for a in answers]


def table(text: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its head."""
    _, found, section = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading}"
    rows = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert rows is not None, f"no table under {heading}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[0].splitlines()[2:]]


def code(cell: str) -> list[str]:
    """Return what a cell has in backquotes."""
    return re.findall(r"`([^`\n]+)`", cell)


def files_of_the_repository() -> list[Path]:
    """Return what is in the repository, or is about to be."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a clone: the files of the repository are listed by git")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def documents() -> list[Path]:
    """Return the Markdown files."""
    return [path for path in files_of_the_repository() if path.suffix == ".md"]


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """Serve aka on free ports, over an empty database, with a key of our choice; yields the documents' variables."""
    command = [str(BIN / "aka"), "serve", "--database", f"sqlite:///{folder}/aka.db"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")} | {
        "AKA_BOOTSTRAP_API_KEY": KEY,
        "AKA_GRPC_ADDRESS": "127.0.0.1:0",
        "AKA_REST_ADDRESS": "127.0.0.1:0",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            ready = re.match(r"aka ready grpc=(\S+) rest=(\S+)", server.stdout.readline())
            assert ready is not None, (folder / "log").read_text(encoding="utf-8")
            yield {
                "AKA": f"http://{ready[1]}/aka.v1.AliasService",
                "REST": f"http://{ready[2]}",
                "AKA_KEY": KEY,
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            }
        finally:
            server.terminate()
    assert server.returncode == 0


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Run the documents' commands as pasted, with their variables set; an error is what is printed instead."""
    printed = defaultdict(list)
    for document, shown in DOCUMENTS.items():
        with served(tmp_path_factory.mktemp("served")) as variables:
            for example in shown:
                ran = subprocess.run(
                    ["sh", "-c", example.command],
                    env=os.environ | variables,
                    cwd=tmp_path_factory.mktemp("pasted"),
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                printed[document].append(ran.stdout or ran.stderr)
    return printed


def test_readme_has_examples_of_all_three_documents() -> None:
    called = {name for example in EXAMPLES for name in METHODS if example.command.endswith(f"$AKA/{name}\n")}
    assert called >= {"Alias", "CreateAliases", "Identify", "Resolve", "GetProfile"}
    assert '{"user_id": "user_123", "alias_id": "legacy_999"}' in {
        body for example in EXAMPLES for body in re.findall(r"-d '([^']*)'", example.command)
    }


@pytest.mark.parametrize(
    ("document", "number"),
    [(document, number) for document, shown in DOCUMENTS.items() for number in range(len(shown))],
)
def test_a_documents_command_gives_the_answer_that_it_shows(
    document: str, number: int, answers: dict[str, list[str]]
) -> None:
    shown = masked([example.answer for example in DOCUMENTS[document]])
    assert masked(answers[document])[number] == shown[number], DOCUMENTS[document][number].command


def test_the_variables_of_readme_are_those_that_its_first_block_sets() -> None:
    first = next(match[2] for match in BLOCK.finditer(README) if "AKA=" in match[2])
    assert set(re.findall(r"^(\w+)=", first, re.MULTILINE)) == {"AKA", "AKA_KEY", "PATH"}
    used = {name for example in EXAMPLES for name in re.findall(r"\$(\w+)", example.command)}
    assert used == {"AKA", "AKA_KEY"}


def test_the_settings_table_tells_every_setting() -> None:
    told = [
        (code(env), code(flag), code(default), expected)
        for env, flag, default, expected in table(README, "## Settings")
    ]
    assert told == [
        ([setting.env], [*filter(None, [setting.flag])], [*filter(None, [setting.default])], setting.expected)
        for setting in SETTINGS
    ]


def test_the_rpc_table_is_the_service() -> None:
    told = [(*code(name), *code(permission)) for name, _, permission in table(README, "## The RPCs")]
    methods = v1.DESCRIPTOR.services_by_name["AliasService"].methods
    assert told == [(method.name, METHODS[method.name].permission) for method in methods]


def test_the_error_table_is_the_one_from_reason_to_status() -> None:
    reasons = defaultdict(list)
    for reason, status in STATUS.items():
        reasons[code_pb2.Code.Name(status)].append(v1.ErrorReason.Name(reason).removeprefix(PREFIX))
    told = {code(status)[0]: code(named) for status, named, _ in table(README, "### Errors")}
    assert told == reasons


def test_the_command_table_is_the_command() -> None:
    assert isinstance(main, click.Group)
    assert {code(command)[0] for command, _ in table(README, "## Commands")} == {
        f"aka {name}" for name in main.commands
    }


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_a_make_target_that_a_document_names_exists(document: str) -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    text = (ROOT / document).read_text(encoding="utf-8")
    commands = [*code(BLOCK.sub("", text)), *(match[2] for match in BLOCK.finditer(text) if match[1] == "sh")]
    named = set(TARGET.findall("\n".join(commands)))
    assert named <= {line.split()[0] for line in listed.splitlines()}
    if document == "README.md":
        assert named >= {"serve", "test"}


def test_every_relative_link_leads_to_a_file_of_the_repository() -> None:
    repository = {path for file in files_of_the_repository() for path in (file, *file.parents)}
    dead = [
        f"{document.relative_to(ROOT)}: {link}"
        for document in documents()
        for link in LINK.findall(document.read_text(encoding="utf-8"))
        if not link.startswith(("https://", "http://", "mailto:"))
        if (document.parent / link).resolve() not in repository
    ]
    assert not dead


def test_every_decision_is_numbered_in_order_and_tells_context_decision_and_price() -> None:
    assert [path.name[:5] for path in DECISIONS] == [f"{number:04}-" for number in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]}: "), path.name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Price"], path.name


def test_the_index_of_decisions_is_complete() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    index = re.findall(r"^- \[(\d{4}: .*)\]\(decisions/(.*)\)$", text, re.MULTILINE)
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in DECISIONS]
    assert index == [(title, path.name) for title, path in zip(titles, DECISIONS, strict=True)]


def test_the_decision_on_dependencies_has_a_line_for_each() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in wanted} - {project["name"]}
    (decision,) = (path for path in DECISIONS if path.name.startswith("0007-"))
    lines = re.findall(r"^- ((?:`[\w-]+`(?:, )?)+): ", decision.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name for line in lines for name in code(line)) == sorted(names)


def test_no_file_names_a_path_outside_the_repository() -> None:
    faults = []
    for path in files_of_the_repository():
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        name = path.relative_to(ROOT)
        faults += [f"{name}: {found}" for found in OUTSIDE.findall(text)]
        if path.suffix == ".md" or len(name.parts) == 1:
            faults += [
                f"{name}: {up}"
                for up in re.findall(r"(?:\.\./)+[\w.-]*", text)
                if not (path.parent / up).resolve().is_relative_to(ROOT)
            ]
    assert not faults


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", changelog, re.MULTILINE)[0] == "Unreleased"
