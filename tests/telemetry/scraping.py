"""`aka` processes that show their metrics, and the metrics taken apart."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.command import KEY


@dataclass(frozen=True)
class Scrape:
    """What `GET /metrics` showed."""

    text: str
    families: Mapping[str, str]
    """The type of each metric, by its name."""
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, text: str) -> "Scrape":
        found = list(text_string_to_metric_families(text))
        families = {f"{it.name}_total" if it.type == "counter" else it.name: it.type for it in found}
        samples = {(it.name, frozenset(it.labels.items())): it.value for family in found for it in family.samples}
        return cls(text, families, samples)

    def __call__(self, name: str, **labels: str) -> float:
        """Return the value of one sample."""
        return self.samples[name, frozenset(labels.items())]

    def labelled(self, name: str, label: str) -> dict[str, float]:
        """Return the values of a metric by one of its labels."""
        return {dict(labels)[label]: value for (found, labels), value in self.samples.items() if found == name}


def scrape(address: str) -> Scrape:
    """Ask for the metrics at an address."""
    answer = httpx.get(f"http://{address}/metrics", trust_env=False)
    assert answer.status_code == 200, answer.text
    return Scrape.of(answer.text)


def metrics_address(log: str, event: str = "serving") -> str:
    """Return where a process serves its metrics, by its log."""
    (serving,) = (entry for line in log.splitlines() if (entry := json.loads(line))["event"] == event)
    return str(serving["metrics"])


def post(address: str, path: str, body: Any, key: str = KEY) -> int:
    """Post JSON and return the HTTP status."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"http://{address}{path}", json=body, headers=headers, trust_env=False).status_code
