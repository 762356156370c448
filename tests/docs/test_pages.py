"""The pages' examples: each is run from an empty database, in order, and its answer compared with the one shown."""

import re
from collections.abc import Mapping
from typing import Final

import pytest

from tests.docs.pages import blocks, examples, masked, run, served

PAGES: Final = ("README.md", "docs/profile-data.md", "docs/rest.md", "docs/which-call.md")
EXAMPLES: Final = {page: examples(page) for page in PAGES}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each page's commands print when they are pasted one after another."""
    printed = {}
    for page, shown in EXAMPLES.items():
        with served(tmp_path_factory.mktemp("served")) as variables:
            printed[page] = [run(example.command, variables, tmp_path_factory.mktemp("pasted")) for example in shown]
    return printed


@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in PAGES for number in range(len(EXAMPLES[page]))]
)
def test_a_pages_command_gives_the_answer_that_it_shows(
    page: str, number: int, answers: Mapping[str, list[str]]
) -> None:
    shown = masked([example.answer for example in EXAMPLES[page]])
    assert masked(answers[page])[number] == shown[number], EXAMPLES[page][number].command


@pytest.mark.parametrize("page", PAGES)
def test_a_pages_commands_use_the_variables_that_its_first_block_sets(page: str) -> None:
    first = next(block.text for block in blocks(page) if block.language == "sh" and "AKA_KEY=" in block.text)
    used = {name for example in EXAMPLES[page] for name in re.findall(r"\$(\w+)", example.command)}
    assert used == set(re.findall(r"^(\w+)=", first, re.MULTILINE)) - {"PATH"}
