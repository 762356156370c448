"""The image in two forms: its steps done in a folder of this machine, and as buildah builds it over a Debian."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.faults.namespace import namespace
from tests.image.container import Container
from tests.image.dockerfile import ROOT, Settings, Step, read_steps, settings_of

_LOOPBACK: Final = (
    "import fcntl, socket, struct;"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1))"  # SIOCSIFFLAGS: IFF_UP
)
_READ_ONLY: Final = """
"$1" -c "$2"
mount --bind "$4" "$4"
for folder in / "$3"; do mount -o remount,bind,ro "$(stat -c %m "$folder")"; done
"""
_ROOT: Final = """
"$1" -c "$2"
mount --bind "$3" "$3"
mount --bind "$4" "$3/data"
mount --rbind /dev "$3/dev"
mount -t proc proc "$3/proc"
mount -o remount,bind,ro "$3"
"""


@contextmanager
def steps_in_a_folder(folder: Path) -> Iterator[Container]:
    """Do the steps that install aka, with /opt/aka in a folder, and see all of this machine but the data read-only.

    It is run by whoever runs this, since nobody else may have access to this machine's Python.
    """
    steps, opt, data = read_steps(), folder / "aka", folder / "data"
    settings = settings_of(steps)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AKA_", "PYTHON"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    _install(steps, folder / "src", opt, environ | {"PATH": path})
    data.mkdir(mode=0o700)
    env = {name: _moved(value, opt, data).replace("$PATH", path) for name, value in settings.env.items()}
    with namespace("mn", _READ_ONLY, sys.executable, _LOOPBACK, str(opt), str(data)) as own:
        yield Container(settings, environ | env, data, own.inside, ())


def _install(steps: Sequence[Step], source: Path, opt: Path, environ: dict[str, str]) -> None:
    source.mkdir()
    for step in steps:
        if step.name == "COPY" and not step.value.startswith("--from"):
            *names, _ = step.value.split()
            for name in names:
                whole = (ROOT / name).is_dir()
                (shutil.copytree if whole else shutil.copy)(ROOT / name, source / name)
        elif step.name == "RUN" and "/opt/aka" in step.value:
            ran = subprocess.run(
                ["sh", "-c", step.value.replace("/opt/aka", shlex.quote(str(opt)))],
                cwd=source,
                env=environ,
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0, ran.stderr


def _moved(value: str, opt: Path, data: Path) -> str:
    return value.replace("/opt/aka", str(opt)).replace("/data", str(data))


@contextmanager
def built_by_buildah(folder: Path) -> Iterator[Container]:
    """Build the image over a Debian that stands in for its base, and run it as its user, without any capability."""
    buildah = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
    base = next(step.value.split()[0] for step in read_steps() if step.name == "FROM")
    data = folder / "data"
    data.mkdir(mode=0o700)
    try:
        _make_base(base, folder / "base", buildah)
        _run(*buildah, "build", "--isolation", "chroot", "--pull-never", "--format", "docker", "-t", "aka", str(ROOT))
        settings = _inspected(json.loads(_run(*buildah, "inspect", "--type", "image", "aka")))
        root = _run(*buildah, "mount", _run(*buildah, "from", "--pull-never", "aka"))
        user, group = settings.user.split(":")
        os.chown(data, int(user), int(group))
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--bounding-set=-all"]
        confined = ("chroot", root, "env", f"--chdir={settings.folder}", *drop, "--no-new-privs", "--")
        with namespace("mn", _ROOT, sys.executable, _LOOPBACK, root, str(data)) as own:
            yield Container(settings, settings.env, data, own.inside, confined)
    finally:
        _run(*buildah, "umount", "--all")
        shutil.rmtree(folder / "store")  # some GiB, which pytest would keep


def _make_base(name: str, folder: Path, buildah: Sequence[str]) -> None:
    """Make a Debian with its Python, give it the image's base's name, and what pip needs here to reach its registry."""
    version, _, suite = name.partition(":")[2].split("-")
    mirrors = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {suite}"]
    mirror = _run(*mirrors).splitlines()[0]
    include = "--include=python3,python3-pip,ca-certificates"
    _run("debootstrap", "--variant=minbase", include, suite, str(folder), mirror)
    for program in ("python", "pip"):
        (folder / "usr/local/bin" / program).symlink_to(f"/usr/bin/{program}3")
    for settings in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):
        if (Path("/") / settings).exists():
            shutil.copy(Path("/") / settings, folder / settings)
    assert f"Python {version}." in _run("chroot", str(folder), "python", "--version"), "the base has another Python"
    container = _run(*buildah, "from", "scratch")
    _run(*buildah, "add", container, str(folder), "/")
    _run(*buildah, "commit", "--rm", container, name)
    shutil.rmtree(folder)


def _inspected(image: dict[str, Any]) -> Settings:
    config = image["Docker"]["config"]
    kind, *healthcheck = config["Healthcheck"]["Test"]
    assert kind == "CMD", "the health check needs a shell"
    return Settings(
        env=dict(word.split("=", 1) for word in config["Env"]),
        user=config["User"],
        folder=config["WorkingDir"],
        volumes=list(config["Volumes"]),
        ports=[port.removesuffix("/tcp") for port in config["ExposedPorts"]],
        entrypoint=config["Entrypoint"],
        command=config["Cmd"],
        healthcheck=healthcheck,
        stop_signal=config["StopSignal"],
    )


def _run(*command: str) -> str:
    """Run a command to its end and return what it says."""
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}: {(ran.stdout + ran.stderr)[-4000:]}"
    return ran.stdout.strip()
