"""The distributions, and environments of their own with the wheel in them."""

import email
import os
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Final, Literal
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.docs.pages import ROOT

Versions = Literal["lowest", "newest"]
"""Of what aka depends on: the lowest that it declares, or whatever is the newest."""

PINNED: Final = re.compile(r"^([\w.-]+)==(.+)$", re.MULTILINE)


def read_pins(text: str) -> dict[str, str]:
    """Return the versions in the lines `name==version` of a text."""
    return {canonicalize_name(name): version for name, version in PINNED.findall(text)}


TOOLS: Final = read_pins((ROOT / "constraints.txt").read_text())
"""The versions of what tests need, which are not what is tested."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An environment with the wheel in it."""

    python: Path

    def run(self, *arguments: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run its Python in the repository, where it finds the tests; aka it finds in the wheel alone."""
        command = [self.python, *arguments]
        return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=600)

    def versions(self) -> dict[str, Version]:
        """Return the version of each package that is there."""
        return {name: Version(version) for name, version in read_pins(pip(self.python, "freeze")).items()}


def install(
    folder: Path, wheel: Path, extras: Collection[str], versions: Versions, tools: Sequence[str]
) -> Installation:
    """Make an environment in a folder with the wheel, some of its extras, and tools as constraints.txt pins them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    bounds = folder / "bounds.txt"
    lowest = lowest_versions(wheel, extras) if versions == "lowest" else {}
    bounds.write_text("".join(f"{name}=={version}\n" for name, version in lowest.items()))
    python = folder / "bin/python"
    pinned = [f"{tool}=={TOOLS[tool]}" for tool in tools]
    pip(python, "install", "--constraint", bounds, f"aka[{','.join(extras)}] @ {wheel.as_uri()}", *pinned)
    return Installation(python)


def lowest_versions(wheel: Path, extras: Collection[str]) -> dict[str, Version]:
    """Return the lowest version that a wheel declares of each of its dependencies, with some extras."""
    lowest: dict[str, Version] = {}
    for requirement in requirements(wheel, extras):
        (bound,) = requirement.specifier
        assert bound.operator in (">=", "=="), f"{requirement} has no lowest version"
        lowest[canonicalize_name(requirement.name)] = Version(bound.version)
    return lowest


def requirements(wheel: Path, extras: Collection[str]) -> list[Requirement]:
    """Return what a wheel depends on, with some extras."""
    stated = [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist", [])]
    return [one for one in stated if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras)]


def metadata(wheel: Path) -> Message:
    """Return a wheel's core metadata."""
    with ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(files.read(name))


def pip(python: Path, *arguments: str | Path) -> str:
    """Run pip for another environment's Python, and return what it prints."""
    command = [sys.executable, "-m", "pip", "--python", python, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
