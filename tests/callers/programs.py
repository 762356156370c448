"""Callers that are programs, each with what its language makes of the proto files."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from grpc import StatusCode

from tests.callers.json_callers import BUF
from tests.callers.registries import DEBIAN, install_debian, install_npm
from tests.callers.story import Refusal, Report, Site
from tests.docs.pages import ROOT

NODE: Final = ROOT / "tests/callers/node"
GO: Final = ROOT / "tests/callers/go"
BY_NUMBER: Final = {code.value[0]: code for code in StatusCode}


def grpc_js(site: Site, _: Path) -> Report:
    """Tell the story by grpc-js and proto-loader."""
    install_npm(NODE)
    return told(run("node", "grpc_js.mjs", cwd=NODE, AKA_PROTOS=str(ROOT / "protos"), **variables(site)))


def connect_es(site: Site, _: Path) -> Report:
    """Tell it by Connect-ES; the program and what is generated must agree in their types."""
    install_npm(NODE)
    run(BUF, "generate", ROOT, cwd=NODE)
    run("node_modules/.bin/tsc", cwd=NODE)
    return told(run("node", "build/connect_es.js", cwd=NODE, **variables(site)))


def go(site: Site, folder: Path) -> Report:
    """Tell it by grpc-go, in GOPATH mode with Debian's packages."""
    install_debian(DEBIAN)
    run(BUF, "generate", ROOT, "--path", ROOT / "protos/aka/v1", "--output", folder, cwd=GO)
    gopath = f"{folder}:/usr/share/gocode"
    run("go", "build", "-o", folder / "caller", "caller.go", cwd=GO, GO111MODULE="off", GOPATH=gopath)
    return told(run(folder / "caller", cwd=GO, **variables(site)))


def variables(site: Site) -> dict[str, str]:
    """Return the variables by which a program knows where to call."""
    aka, locked = site
    return {
        "AKA": aka.address,
        "AKA_KEY": aka.key,
        "AKA_LOCKED": locked.address,
        "AKA_LOCKED_KEY": locked.key,
    }


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a command in a folder and return what it prints."""
    ran = subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def told(printed: str) -> Report:
    """Read a program's report."""
    report: Mapping[str, Any] = json.loads(printed)
    return Report(
        answers=report["answers"],
        refusal=refusal(report["refusal"]),
        late=refusal(report["late"]),
        unavailable=refusal(report["unavailable"]),
    )


def refusal(read: Mapping[str, Any]) -> Refusal:
    """Return a refusal of which a program says the code's number and what it read in ErrorInfo, where there was one."""
    given = {name: value for name, value in read.items() if name != "code"}
    return Refusal(BY_NUMBER[read["code"]], **given)


PROGRAMS: Final[dict[str, Callable[[Site, Path], Report]]] = {"grpc-js": grpc_js, "Connect-ES": connect_es, "Go": go}
