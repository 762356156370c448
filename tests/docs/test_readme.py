"""What the documents say, held against what is there."""

import re
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest
from google.rpc import code_pb2

from aka.server.errors import PREFIX, STATUS
from aka.server.methods import ADMIN_SERVICE, SERVICE, SERVICES
from aka.v1 import alias_service_pb2 as v1
from tests.docs.pages import ROOT, blocks, code, examples, prose, table

DECISIONS: Final = sorted((ROOT / "docs/decisions").glob("*.md"))

LINK: Final = re.compile(r"\]\(([^)\s#]*)#?([^)\s]*)\)")
TARGET: Final = re.compile(r"^make ([a-z-]+)", re.MULTILINE)
OUTSIDE: Final = re.compile(r"(?<![\w.:/-])/(?:work|home|root|Users)/[\w.-]+")


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


def test_readme_has_examples_of_all_three_documents() -> None:
    shown = examples("README.md")
    called = {target for example in shown for target in re.findall(r"\$(?:AKA|REST)/([\w/]+)", example.command)}
    assert called >= {"Alias", "CreateAliases", "Identify", "Resolve"}
    assert called >= {"v1/users/aliases", "alias", "users/alias/new"}
    assert '{"user_id": "user_123", "alias_id": "legacy_999"}' in {
        body for example in shown for body in re.findall(r"-d '([^']*)'", example.command)
    }


@pytest.mark.parametrize(("heading", "service"), [("## The RPCs", SERVICE), ("### For operators", ADMIN_SERVICE)])
def test_a_table_of_rpcs_is_the_service(heading: str, service: str) -> None:
    told = [(*code(name), tuple(code(permission))) for name, _, permission in table("README.md", heading)]
    assert told == [(name, method.permissions) for name, method in SERVICES[service].items()]


def test_the_error_table_is_the_one_from_reason_to_status() -> None:
    reasons = defaultdict(list)
    for reason, status in STATUS.items():
        reasons[code_pb2.Code.Name(status)].append(v1.ErrorReason.Name(reason).removeprefix(PREFIX))
    told = {code(status)[0]: code(named) for status, named, _ in table("README.md", "### Errors")}
    assert told == reasons


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_a_make_target_that_a_document_names_exists(document: str) -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    commands = [*code(prose(document)), *(block.text for block in blocks(document) if block.language == "sh")]
    named = set(TARGET.findall("\n".join(commands)))
    assert named <= {line.split()[0] for line in listed.splitlines()}
    if document == "README.md":
        assert named >= {"serve", "test"}


def anchors(document: Path) -> set[str]:
    """Return what may stand behind # in a link to a document, as GitHub makes it of its headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_to_a_file_of_the_repository_and_a_heading_of_it() -> None:
    repository = {path for file in files_of_the_repository() for path in (file, *file.parents)}
    dead = []
    for document in documents():
        for link, anchor in LINK.findall(document.read_text(encoding="utf-8")):
            if link.startswith(("https://", "http://", "mailto:")):
                continue
            target = (document.parent / link).resolve() if link else document
            if target not in repository or (anchor and anchor not in anchors(target)):
                dead.append(f"{document.relative_to(ROOT)}: {link}#{anchor}")
    assert not dead


def test_every_decision_has_its_own_number_and_tells_context_decision_and_price() -> None:
    assert len({path.name[:5] for path in DECISIONS}) == len(DECISIONS)
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
