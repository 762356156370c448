"""deploy/: the files are what their formats' schemas say, and name what aka has."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from aka.server.config import SETTINGS, Settings, read_settings
from tests.image.dockerfile import ROOT, read_steps, settings_of

DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
HAPROXY: Final = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
OBJECTS: Final[list[dict[str, Any]]] = [*yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))]
IMAGE: Final = settings_of(read_steps())

SPARE: Final = 5
"""Seconds beyond drain and grace that whoever ends a server gives it."""

CHOSEN: Final = {
    "POSTGRES_PASSWORD": "a-password",
    "AKA_BOOTSTRAP_API_KEY": "a-key-of-the-operators",
    "database-url": "postgresql://aka:a-password@somewhere/aka",
    "bootstrap-api-key": "a-key-of-the-operators",
}
"""What an operator puts in."""


def of_kind(kind: str, name: str) -> dict[str, Any]:
    (found,) = (it for it in OBJECTS if (it["kind"], it["metadata"]["name"]) == (kind, name))
    return found


POD: Final[dict[str, Any]] = of_kind("Deployment", "aka")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
AKAS: Final = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "aka"}


def composed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a service's environment as compose fills it in."""
    return {name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda it: CHOSEN[it[1]], text) for name, text in environment.items()}


def variables(env: list[dict[str, Any]]) -> dict[str, str]:
    """Return a container's environment as Kubernetes fills it in."""
    return {it["name"]: it.get("value") or CHOSEN[it["valueFrom"]["secretKeyRef"]["key"]] for it in env}


def settings(given: Mapping[str, str]) -> Settings:
    """Return what a server of the image runs with; an unknown AKA_ variable is a fault."""
    known = {setting.env for setting in SETTINGS}
    assert {name for name in given if name.startswith("AKA_")} <= known
    return read_settings({**IMAGE.env, **given}, {})


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_the_compose_file_is_one() -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(DEPLOY / "compose.yaml")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_kubernetes_objects_are_some(version: str) -> None:
    for it in OBJECTS:
        kubernetes_validate.validate(it, version, strict=True)


@pytest.mark.parametrize("name", AKAS)
def test_a_composed_server_has_settings_that_can_be_and_time_to_stop(name: str) -> None:
    read = settings(composed(AKAS[name]["environment"]))
    assert AKAS[name]["stop_grace_period"] == f"{read.drain + read.grace + SPARE:.0f}s"


def test_the_balancer_knows_the_composed_servers_and_their_ports() -> None:
    read = settings(composed(AKAS["aka-1"]["environment"]))
    grpc, rest = port_of(read.grpc_address), port_of(read.rest_address)
    servers = re.findall(r"^ +server (\S+) (\S+):(\d+)", HAPROXY, re.MULTILINE)
    assert servers == [(name, name, str(port)) for port in (grpc, rest) for name in AKAS]
    assert re.findall(r"check port (\d+)", HAPROXY) == [str(rest)]
    assert [int(port) for port in re.findall(r"bind :(\d+)", HAPROXY)] == [grpc, rest]
    assert COMPOSE["services"]["balancer"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in (grpc, rest)]


def test_a_composed_server_drains_until_the_balancer_has_seen_it() -> None:
    (every, failures), *_ = re.findall(r"inter (\d+)s fall (\d+)", HAPROXY)
    assert settings(composed(AKAS["aka-1"]["environment"])).drain > int(every) * (int(failures) + 1)


def test_a_pod_has_settings_that_can_be_and_time_to_stop() -> None:
    read = settings(variables(CONTAINER["env"]))
    assert POD["terminationGracePeriodSeconds"] == read.drain + read.grace + SPARE


def test_a_pods_ports_are_those_that_its_server_has() -> None:
    read = settings(variables(CONTAINER["env"]))
    served = {"grpc": read.grpc_address, "rest": read.rest_address, "metrics": read.metrics_address}
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {name: port_of(address) for name, address in served.items()}


def test_a_pod_is_ready_when_its_grpc_port_says_so_and_alive_when_it_answers() -> None:
    (grpc,) = (port["containerPort"] for port in CONTAINER["ports"] if port["name"] == "grpc")
    assert CONTAINER["readinessProbe"]["grpc"] == {"port": grpc}
    alive = {"path": "/healthz", "port": "rest"}
    assert [CONTAINER[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe")] == [alive] * 2


def test_a_pod_runs_as_the_images_user() -> None:
    context = POD["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == IMAGE.user


def test_the_services_and_the_budget_are_about_the_pods_and_their_ports() -> None:
    labels = of_kind("Deployment", "aka")["spec"]["template"]["metadata"]["labels"]
    for name in ("aka", "aka-rest"):
        service = of_kind("Service", name)["spec"]
        assert service["selector"] == labels
        assert {port["targetPort"] for port in service["ports"]} <= {port["name"] for port in CONTAINER["ports"]}
    assert of_kind("Service", "aka")["spec"]["clusterIP"] == "None"
    assert of_kind("PodDisruptionBudget", "aka")["spec"]["selector"]["matchLabels"] == labels
