"""What the Dockerfile says: its steps, and the settings that they leave an image with."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]


class Step(NamedTuple):
    """One instruction."""

    stage: int
    """The number of FROMs before it, itself counted."""
    name: str
    value: str


class Settings(NamedTuple):
    """How a container of an image is run."""

    env: dict[str, str]
    user: str
    folder: str
    """The working directory."""
    volumes: list[str]
    ports: list[str]
    entrypoint: list[str]
    command: list[str]
    healthcheck: list[str]
    stop_signal: str


def read_steps() -> list[Step]:
    """Return the Dockerfile's instructions, in order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    steps: list[Step] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, value = line.strip().partition(" ")
            stage = steps[-1].stage if steps else 0
            steps.append(Step(stage + (name == "FROM"), name, value.strip()))
    return steps


def settings_of(steps: Sequence[Step]) -> Settings:
    """Return what the last stage says."""
    last = {step.name: step.value for step in steps if step.stage == steps[-1].stage}
    return Settings(
        env=dict(word.split("=", 1) for word in shlex.split(last["ENV"])),
        user=last["USER"],
        folder=last["WORKDIR"],
        volumes=last["VOLUME"].split(),
        ports=last["EXPOSE"].split(),
        entrypoint=json.loads(last["ENTRYPOINT"]),
        command=json.loads(last["CMD"]),
        healthcheck=json.loads(last["HEALTHCHECK"].partition("CMD ")[2]),
        stop_signal=last["STOPSIGNAL"],
    )
