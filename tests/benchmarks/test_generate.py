"""The databases that the benchmarks generate."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aka.server.store.sqlite_check import check_file
from aka.server.store.store import CannotOpen
from benchmarks.generate import count_ids, generate
from tests.docs.pages import ROOT

SIZE = 3_000


def dump(file: Path) -> list[str]:
    """Return all rows but those that tell when the tables were made."""
    with closing(sqlite3.connect(file)) as connection:
        return [line for line in connection.iterdump() if not line.startswith('INSERT INTO "migrations"')]


@pytest.mark.parametrize("size", [0, 1, SIZE])
def test_a_generated_database_is_sound_and_has_as_many_identifiers_as_it_should(tmp_path: Path, size: int) -> None:
    generate(tmp_path / "aka.db", size)
    report = check_file(str(tmp_path / "aka.db"))
    assert report.faults == []
    assert report.summary.endswith(f", {size} identifiers")


def test_the_same_seed_makes_the_same_rows_and_another_makes_others(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        generate(tmp_path / name, SIZE, seed)
    one = dump(tmp_path / "one")
    assert dump(tmp_path / "same") == one
    assert dump(tmp_path / "other") != one


def test_every_generated_id_leads_to_a_living_profile_with_a_primary_id(tmp_path: Path) -> None:
    generate(tmp_path / "aka.db", SIZE)
    ids = count_ids(tmp_path / "aka.db")
    with closing(sqlite3.connect(tmp_path / "aka.db")) as connection:
        found = connection.execute(
            "SELECT i.name FROM identifiers i JOIN profiles o ON o.workspace = i.workspace AND o.id = i.origin"
            " JOIN profiles s ON s.workspace = o.workspace AND s.id = o.survivor"
            " WHERE i.label = '' AND s.primary_id GLOB 'id-????????' ORDER BY i.name"
        ).fetchall()
    assert [name for (name,) in found] == [f"id-{number:08}" for number in range(ids)]
    assert 0 < ids < SIZE, "some identifiers are user aliases"


def test_a_generated_database_has_tombstones_and_anonymous_profiles(tmp_path: Path) -> None:
    generate(tmp_path / "aka.db", SIZE)
    with closing(sqlite3.connect(tmp_path / "aka.db")) as connection:
        query = "SELECT sum(survivor <> id), sum(survivor = id AND primary_id IS NULL) FROM profiles"
        tombstones, anonymous = connection.execute(query).fetchone()
    assert tombstones and anonymous


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "aka.db"
    file.write_text("mine")
    with pytest.raises(CannotOpen, match="is there already"):
        generate(file, SIZE)
    assert file.read_text() == "mine"


def test_the_command_makes_a_file_and_tells_what_is_in_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.generate", str(tmp_path / "aka.db"), "1000", "--seed", "5"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "1,000 identifiers" in ended.stdout
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1
    assert again.stderr == f"generate: {tmp_path / 'aka.db'} is there already\n"
