"""What callers need that aka does not install: packages of npm and of Debian, by their own clients."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import pytest

DEBIAN: Final = {
    "golang-go": "/usr/bin/go",
    "golang-google-grpc-dev": "/usr/share/gocode/src/google.golang.org/grpc/grpc.go",
    "golang-github-golang-protobuf-1-5-dev": "/usr/share/gocode/src/github.com/golang/protobuf/proto/proto.go",
    "protoc-gen-go-1-5": "/usr/bin/protoc-gen-go",
    "protoc-gen-go-grpc": "/usr/bin/protoc-gen-go-grpc",
}
"""Debian's packages for a caller in Go, each with a file that is there where it is installed."""

UNREACHABLE: Final = re.compile(
    r"E(?:AI_AGAIN|CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|NOTFOUND|TIMEDOUT)\b"
    r"|(?:Could not|Cannot|Failed to) (?:connect|resolve|fetch)|Temporary failure resolving",
    re.IGNORECASE,
)
"""What npm and apt-get say where their registry cannot be reached."""


def install_npm(folder: Path) -> None:
    """Install what a folder's lock file names; skips where the registry cannot be reached."""
    need("npm")
    lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        install("npm", ["npm", "ci"], folder)


def install_debian(packages: Mapping[str, str]) -> None:
    """Install Debian packages that are not there; skips where the registry cannot be reached."""
    missing = [name for name, file in packages.items() if not Path(file).exists()]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        cannot(f"needs Debian's {', '.join(missing)}; as root this installs them")
    install("apt-get", ["apt-get", "update"], Path.cwd())
    install("apt-get", ["apt-get", "install", "-y", "--no-install-recommends", *missing], Path.cwd())


def install(client: str, command: Sequence[str], folder: Path) -> None:
    """Run a registry's client; skips where it says that it cannot reach the registry, and fails where it fails."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    said = ran.stdout + ran.stderr
    if ran.returncode != 0:
        unreachable = UNREACHABLE.search(said)
        if unreachable is not None:
            pytest.skip(f"{client} cannot reach its registry: {unreachable[0]}")
        if client == "apt-get":  # what a Debian's archive has, and when, is not this project's
            cannot(f"{client} cannot install: {said.strip().splitlines()[-1]}")
        pytest.fail(f"{' '.join(command)}:\n{said}")


def need(program: str) -> None:
    """Go on where a program is there."""
    if shutil.which(program) is None:
        cannot(f"needs {program}")


def cannot(why: str) -> NoReturn:
    """Skip, and say what this machine lacks."""
    pytest.skip(why)
