"""What is in the wheel and in the sdist. (`make dist`, which builds them, has twine check their metadata.)"""

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

from tests.docs.pages import ROOT
from tests.packaging.installations import metadata, requirements

PORTIONS = ("aka/v1", "aka/admin/v1", "aka/client", "aka/server")


def names(wheel: Path) -> set[str]:
    """Return the names of a wheel's files."""
    with ZipFile(wheel) as files:
        return set(files.namelist())


def contents(wheel: Path) -> dict[str, bytes]:
    """Return a wheel's files."""
    with ZipFile(wheel) as files:
        return {name: files.read(name) for name in files.namelist()}


def test_the_wheel_has_the_four_portions_and_nothing_else(wheel: Path) -> None:
    portions = {name.rpartition("/")[0] for name in names(wheel) if ".dist-info/" not in name}
    assert all(any(f"{folder}/".startswith(f"{portion}/") for portion in PORTIONS) for folder in portions)
    assert not any("test_" in name or "third_party" in name for name in names(wheel))


def test_the_wheel_has_every_file_of_the_portions_that_is_in_the_repository(wheel: Path) -> None:
    roots = [f"{root}/aka" for root in ("protos", "client", "server")]
    listed = subprocess.run(["git", "ls-files", *roots], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {path.partition("/")[2] for path in listed.splitlines()} == {
        name for name in names(wheel) if ".dist-info/" not in name
    }


def test_each_portion_is_typed_and_the_namespace_is_no_package(wheel: Path) -> None:
    assert {f"{portion}/py.typed" for portion in PORTIONS} <= names(wheel)
    assert not {"aka/__init__.py", "aka/py.typed", "aka/admin/__init__.py"} & names(wheel)


def test_the_wheel_has_the_licence_and_says_which(wheel: Path) -> None:
    told = metadata(wheel)
    (licence,) = (name for name in names(wheel) if name.endswith(".dist-info/licenses/LICENSE"))
    assert contents(wheel)[licence] == (ROOT / "LICENSE").read_bytes()
    assert (told["License-Expression"], told.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])


def test_the_base_install_is_what_the_contract_and_the_client_stand_on(wheel: Path) -> None:
    base = {requirement.name for requirement in requirements(wheel, ())}
    assert base == {"grpcio", "protobuf", "googleapis-common-protos"}


def test_the_sdist_has_the_licence_and_the_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as files:
        top, *_ = files.getnames()[0].split("/")
        assert {f"{top}/{name}" for name in ("LICENSE", "README.md", "tests/conftest.py")} <= set(files.getnames())


def test_the_sdist_builds_the_wheel_that_the_repository_builds(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as files:
        files.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    built = {}
    for name, tree in (("repository", ROOT), ("sdist", source)):
        command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", f"--outdir={tmp_path / name}"]
        subprocess.run([*command, str(tree)], check=True, capture_output=True)
        (built[name],) = (tmp_path / name).iterdir()
    assert contents(built["repository"]) == contents(built["sdist"]) == contents(wheel)
