"""Alarms and dashboard name metrics that exist, and every alarm has its page: a rule with a misspelt name never fires."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
import yaml

from oncegate.meters import HISTOGRAMS, TABLE
from oncegate.server.limits import OPEN_REQUESTS_MAX
from oncegate.stores import protocol

ROOT = pathlib.Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RUNBOOK = ROOT / "docs" / "guides" / "alarms.md"

LABELS = {f"oncegate_{name}_total": set(meter.labels) for name, meter in TABLE.items()}
LABELS |= {f"oncegate_{name}_bucket": {*meter.labels, "le"} for name, meter in HISTOGRAMS.items()}
LABELS |= {
    f"oncegate_{name}_{part}": set(meter.labels) for name, meter in HISTOGRAMS.items() for part in ("sum", "count")
}
LABELS |= {"oncegate_transfers": set(), "oncegate_build_info": {"version"}}
OF_PROMETHEUS = {"instance", "job"}


def rules() -> list[dict[str, Any]]:
    """The alarms."""
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> list[str]:
    """Every expression of alarms and dashboard."""
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + targets


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_uses_metrics_and_labels_that_exist(expression: str) -> None:
    """A metric that was renamed would make the alarm silent, and its panel empty."""
    names = re.findall(r"oncegate_\w+", expression)
    assert names or "up{" in expression
    assert set(names) <= LABELS.keys()
    allowed = set().union(OF_PROMETHEUS, *(LABELS[name] for name in names))
    used = set(re.findall(r'(\w+)(?:=~|=|!=)"', expression))
    for words in re.findall(r"by \(([^)]*)\)", expression):
        used |= {word.strip() for word in words.split(",")}
    assert used <= allowed


def test_each_alarm_has_a_section_of_the_runbook() -> None:
    """Whoever is woken by it reads what it means and what to do."""
    headings = {line.removeprefix("## ") for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    assert headings == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/guides/alarms.md#{rule['alert'].lower()}"


def test_the_faults_of_the_store_that_wake_somebody_begin_with_store() -> None:
    """The alarm tells the store's own faults from those of an upload by the beginning of their name."""
    for fault in ("StoreBusy", "StoreRefused", "StoreFull"):
        assert issubclass(getattr(protocol, fault), protocol.StoreFault)
        assert fault in RUNBOOK.read_text()


def test_the_alarm_of_many_transfers_comes_before_the_limit() -> None:
    """At the limit viewers are refused already."""
    (rule,) = (rule for rule in rules() if rule["alert"] == "OncegateManyTransfers")
    threshold = int(rule["expr"].rpartition(">")[2])
    assert 0.7 * OPEN_REQUESTS_MAX < threshold < OPEN_REQUESTS_MAX
    assert f"{OPEN_REQUESTS_MAX:,} open requests" in rule["annotations"]["summary"]
