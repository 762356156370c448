"""docs/clients.md: its first calls in Go and TypeScript are made as it shows them."""

import os
from pathlib import Path
from shutil import rmtree
from typing import Final

from tests.callers.json_callers import BUF
from tests.callers.programs import NODE, run
from tests.callers.registries import DEBIAN, install_debian, install_npm
from tests.cli.command import KEY, Serving
from tests.docs.pages import ROOT, blocks

PAGE: Final = "docs/clients.md"


def write(folder: Path, heading: str, *names: str) -> None:
    """Write the blocks under a heading of the page into files of a folder, which is emptied first."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in zip(names, (block.text for block in blocks(PAGE) if block.heading == heading), strict=True):
        (folder / name).write_text(text)


def test_the_first_call_in_go(aka: Serving, tmp_path: Path) -> None:
    install_debian(DEBIAN)
    folder = tmp_path / "src/example.com/you"
    write(folder, "Go", "buf.gen.yaml", "main.go")
    run(BUF, "generate", ROOT, "--path", ROOT / "protos/aka/v1", cwd=folder)
    assert run("gofmt", "-l", ".", cwd=folder) == ""
    go = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:/usr/share/gocode"}
    printed = run("go", "run", "main.go", cwd=folder, AKA_SERVER=aka.address, AKA_API_KEY=KEY, **go)
    assert printed.startswith("user_123 OUTCOME_")


def test_the_first_call_in_typescript(aka: Serving) -> None:
    install_npm(NODE)
    folder = NODE / "build/page"
    write(folder, "TypeScript", "buf.gen.yaml", "first_call.ts")
    path = f"{NODE / 'node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"
    run(BUF, "generate", ROOT, cwd=folder, PATH=path)
    options = ["--strict", "--module", "nodenext", "--target", "es2023", "--types", "node", "--ignoreConfig"]
    run("tsc", *options, "first_call.ts", cwd=folder, PATH=path)
    printed = run("node", "first_call.js", cwd=folder, AKA_SERVER=aka.address, AKA_API_KEY=KEY)
    assert printed.split()[0] == "user_123"
