"""The image: what the Dockerfile says, and that what it builds serves, as nobody, on a root that cannot be written."""

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import Ended
from tests.image.builds import built_by_buildah, steps_in_a_folder
from tests.image.container import Container, serving
from tests.image.dockerfile import ROOT, read_steps, settings_of

STEPS: Final = read_steps()
SETTINGS: Final = settings_of(STEPS)
LONG: Final = os.environ.get("AKA_TEST_LONG") == "1"

CALL: Final = """
import sys, urllib.request
key, body = sys.argv[1:]
headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8080/aka.v1.AliasService/Identify", body.encode(), headers)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


FORMS: Final = {"the steps in a folder": steps_in_a_folder, "built by buildah": built_by_buildah}

GET: Final = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())
"""


@dataclass(frozen=True)
class Run:
    """What a container said and did, from its start to its end."""

    container: Container
    ready: str
    key_file_mode: int
    answer: Ended
    metrics: Ended
    health: Ended
    status: dict[str, str]
    """Its process's status while it served, as the kernel tells it."""
    mounts: dict[str, str]
    """The mounts that it sees, each `ro` or `rw`."""
    backup: Ended
    check: Ended
    code: int
    health_afterwards: Ended
    log: str


@pytest.fixture(scope="module", params=FORMS if LONG else list(FORMS)[:1])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of each form."""
    folder = tmp_path_factory.mktemp("image")
    with FORMS[request.param](folder) as container:
        yield live(container, folder / "stderr.txt")


@pytest.fixture
def built(run: Run) -> Run:
    """A run of the image itself."""
    if not run.container.confined:
        pytest.skip("long: only what buildah built has a user and a root of its own")
    return run


def live(container: Container, stderr: Path) -> Run:
    """Run the image, call it, ask after its health, back its database up, and stop it."""
    check = container.settings.healthcheck
    with serving(container, stderr) as server:
        key_file = container.data / "aka.db.key"
        body = json.dumps({"aliases_to_identify": [{"external_id": "user_123"}]})
        return Run(
            container=container,
            ready=server.ready,
            key_file_mode=key_file.stat().st_mode & 0o777,
            answer=container.visit(sys.executable, "-c", CALL, key_file.read_text().strip(), body),
            metrics=container.visit(sys.executable, "-c", GET, "http://127.0.0.1:9464/metrics"),
            health=container.run(*check),
            status=status(server.process.pid),
            mounts=mounts(server.process.pid),
            backup=container.run(*container.settings.entrypoint, "backup", f"{container.database}.backup", "--check"),
            check=container.run(*container.settings.entrypoint, "check"),
            code=server.stop(),
            health_afterwards=container.run(*check),
            log=stderr.read_text(),
        )


def status(pid: int) -> dict[str, str]:
    """Return the lines of a process's status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def mounts(pid: int) -> dict[str, str]:
    """Return whether each mount that a process sees is `ro` or `rw`, the last of those in one place."""
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {fields[4]: fields[5][:2] for fields in lines}


def test_it_serves_on_every_address_of_the_container(run: Run) -> None:
    assert run.ready == "aka ready grpc=0.0.0.0:50051 rest=0.0.0.0:8080\n"


def test_its_metrics_are_served(run: Run) -> None:
    assert "aka_build_info" in run.metrics.out, run.metrics.err


def test_its_first_key_is_beside_the_database_for_its_owner_alone_and_opens_it(run: Run) -> None:
    assert run.key_file_mode == 0o600
    assert json.loads(run.answer.out)["results"][0]["outcome"] == "OUTCOME_CREATED", run.answer.err


def test_its_health_check_says_whether_it_serves(run: Run) -> None:
    assert (run.health.code, run.health.out, run.health.err) == (0, "SERVING\n", "")
    assert run.health_afterwards.code == 1


def test_its_stop_signal_ends_it_with_0(run: Run) -> None:
    assert run.code == 0
    assert "Traceback" not in run.log


def test_its_commands_work_beside_the_server(run: Run) -> None:
    assert (run.backup.code, run.backup.err) == (0, "")
    assert (run.check.code, run.check.out) == (0, "1 profiles, 1 identifiers: no faults\n")


def test_it_writes_nothing_but_the_data_since_all_else_is_read_only(run: Run) -> None:
    assert (run.mounts["/"], run.mounts[str(Path(run.container.database).parent)]) == ("ro", "rw")
    assert {path.name for path in run.container.data.iterdir()} == {
        "aka.db",
        "aka.db.backup",
        "aka.db.key",
        "aka.db.lock",
    }


def test_it_runs_as_its_user_without_any_capability(built: Run) -> None:
    assert built.status["Uid"].split() == ["10001"] * 4
    assert built.status["Gid"].split() == ["10001"] * 4
    assert {built.status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}


def test_the_image_has_no_pip_for_akas_packages_and_no_compiler(built: Run) -> None:
    assert built.container.run("python", "-m", "pip", "--version").code != 0
    assert (
        built.container.run("sh", "-c", "for tool in sh cc gcc make; do command -v $tool; done").out == "/usr/bin/sh\n"
    )


def test_what_was_built_is_what_the_dockerfile_says(built: Run) -> None:
    said, path = built.container.settings, "PATH"
    assert said._replace(env={}) == SETTINGS._replace(env={})
    assert {**said.env, path: ""} == {**SETTINGS.env, path: ""}
    assert said.env[path].startswith("/opt/aka/bin:")


def test_the_dockerfile_names_its_base_by_a_version_and_no_registry() -> None:
    bases = {step.value.split()[0] for step in STEPS if step.name == "FROM"}
    assert bases == {"python:3.11-slim-bookworm"}


def test_the_image_has_every_extra_that_is_not_for_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = [re.search(r"'\.\[(.*)\]'$", step.value) for step in STEPS if "pip" in step.value]
    extras = {extra for found in installed if found for extra in found[1].split(",")}
    assert project["optional-dependencies"].keys() - {"bench", "dev", "dist"} <= extras


def test_the_user_is_a_number_that_is_not_roots() -> None:
    assert all(int(number) > 0 for number in SETTINGS.user.split(":"))


def test_what_is_served_is_exposed_and_the_database_is_on_the_volume() -> None:
    served = [SETTINGS.env[name].removeprefix("0.0.0.0:") for name in sorted(SETTINGS.env) if name.endswith("_ADDRESS")]
    assert sorted(served) == sorted(SETTINGS.ports)
    assert [SETTINGS.env["AKA_DATABASE_URL"]] == [f"sqlite:///{volume}/aka.db" for volume in SETTINGS.volumes]


def test_the_build_gets_the_files_that_it_copies_and_no_others() -> None:
    copied = [step.value.split()[:-1] for step in STEPS if step.name == "COPY" and "--from" not in step.value]
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {name for names in copied for name in names} == {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
