"""docs/observability.md, the dashboard and the alert rules, held against what a running server shows."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from aka.server.errors import PREFIX, STATUS
from aka.v1 import alias_service_pb2 as v1
from tests.docs.pages import ROOT, code, table
from tests.telemetry.scraping import Scrape

DOCUMENT: Final = "docs/observability.md"
DASHBOARD: Final = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text(encoding="utf-8"))
RULES: Final = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text(encoding="utf-8"))

ALERTS: Final[list[dict[str, Any]]] = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS: Final[list[dict[str, Any]]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES: Final = [target["expr"] for panel in PANELS for target in panel["targets"]] + [
    variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"
]
EXPRESSIONS: Final = [*QUERIES, *(alert["expr"] for alert in ALERTS)]

METRIC: Final = re.compile(r"\b(?:aka|process)_\w+")
SELECTOR: Final = re.compile(r"(\w+)\{([^}]*)\}")
MATCHER: Final = re.compile(r'(\w+)(?:=~?|!=|!~)"([^"]*)"')
BY: Final = re.compile(r"\b(?:by|on|group_left) \(([^)]*)\)")
TARGETS_LABELS: Final = {"job", "instance"}
"""Labels that Prometheus itself adds."""


def family(name: str) -> str:
    """Return the metric that a sample belongs to."""
    return re.sub(r"_(?:bucket|sum|count)$", "", name)


def labels_of(scrape: Scrape, name: str) -> set[str]:
    return {label for (sample, labels), _ in scrape.samples.items() if family(sample) == name for label, _ in labels}


def test_the_documents_table_is_what_a_server_shows(used: Scrape) -> None:
    told = {code(name)[0]: (kind, set(code(labels))) for name, kind, labels, _ in table(DOCUMENT, "## Metrics")}
    assert told == {name: (kind, labels_of(used, name) - {"le"}) for name, kind in used.families.items()}


def test_the_dashboard_and_the_alerts_know_only_metrics_that_are_there(used: Scrape) -> None:
    named = {family(name) for expression in EXPRESSIONS for name in METRIC.findall(expression)}
    workers = {code(name)[0] for name, *_ in table(DOCUMENT, "### Workers")}
    assert named <= used.families.keys() | workers


def test_every_metric_of_akas_is_on_the_dashboard(used: Scrape) -> None:
    shown = {family(name) for query in QUERIES for name in METRIC.findall(query)}
    assert {name for name in used.families if name.startswith("aka_")} <= shown


def test_the_dashboard_and_the_alerts_know_only_labels_that_are_there(used: Scrape) -> None:
    for expression in EXPRESSIONS:
        metrics = {family(name) for name in METRIC.findall(expression)}
        there = TARGETS_LABELS.union(*(labels_of(used, name) for name in metrics))
        matched = {label for _, selector in SELECTOR.findall(expression) for label, _ in MATCHER.findall(selector)}
        grouped = {label.strip() for labels in BY.findall(expression) for label in labels.split(",")}
        assert matched | grouped <= there, expression


def test_the_alerts_know_only_reasons_that_are_there() -> None:
    reasons = {v1.ErrorReason.Name(reason).removeprefix(PREFIX) for reason in STATUS}
    selectors = [selector for alert in ALERTS for _, selector in SELECTOR.findall(alert["expr"])]
    named = {
        reason
        for s in selectors
        for label, value in MATCHER.findall(s)
        if label == "reason"
        for reason in value.split("|")
    }
    assert named
    assert named <= reasons


def test_the_document_says_of_each_alert_what_to_do() -> None:
    told = [(code(alert)[0], severity) for alert, severity, _ in table(DOCUMENT, "## Alerts")]
    assert told == [(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_has_the_shape_that_prometheus_expects(alert: dict[str, Any]) -> None:
    assert alert.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert re.fullmatch(r"Aka[A-Z]\w+", alert["alert"])
    assert re.fullmatch(r"\d+[smh]", alert.get("for", "1m"))
    assert alert["labels"].keys() == {"severity"}
    assert alert["annotations"].keys() == {"summary", "description"}
    assert balanced(alert["expr"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_says_what_it_shows_and_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert balanced(target["expr"])


def test_no_two_panels_have_one_id_or_one_place() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    places = [place for panel in DASHBOARD["panels"] for place in cells(panel["gridPos"])]
    assert len(ids) == len(set(ids))
    assert len(places) == len(set(places))


def cells(at: dict[str, int]) -> Iterator[tuple[int, int]]:
    assert at["x"] + at["w"] <= 24
    for x in range(at["x"], at["x"] + at["w"]):
        yield from ((x, y) for y in range(at["y"], at["y"] + at["h"]))


def balanced(expression: str) -> bool:
    """Whether every bracket of an expression is closed."""
    open_brackets: list[str] = []
    for character in re.sub(r'"[^"]*"', "", expression):
        if character in "([{":
            open_brackets.append(character)
        elif character in ")]}" and (not open_brackets or open_brackets.pop() + character not in ("()", "[]", "{}")):
            return False
    return not open_brackets
