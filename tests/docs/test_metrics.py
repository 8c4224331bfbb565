"""The metrics' table, the alerts and the dashboard know the metrics that there are."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from cutout.results.added_columns import ALL_ADDED
from tests.docs.metrics_table import PAGE, renewed, series
from tests.docs.pages import ROOT

ALERTS = yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "cutout.json").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for target in TARGETS]
TEXTS = [
    *sorted(path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".yml")),
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "docker-compose.yml")),
]
# Names of the same form: the client's package, and columns of a catalog that comes back.
OTHER_NAMES = {"cutout_client", *ALL_ADDED}
NAME = re.compile(r"\bcutout_[a-z][a-z0-9_]*")
SELECTOR = re.compile(r"\b(cutout_\w+)(?:\{([^}]*)\})?")


def test_the_table_is_what_the_processes_serve() -> None:
    """docs/operate/metrics.md shows every metric with its labels and meaning, as the code has them."""
    page = PAGE.read_text()
    assert page == renewed(page), "run .venv/bin/python -m tests.docs.metrics_table"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_there_is(expression: str) -> None:
    """Every metric in it exists, with every label by which it is chosen or grouped; brackets are closed."""
    known = series()
    asked = list(SELECTOR.finditer(expression))
    assert asked
    for found in asked:
        assert found[1] in known
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found[2] or "")) <= known[found[1]]
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
    assert grouped <= set.union(*(known[found[1]] for found in asked))
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


def test_texts_name_metrics_that_there_are() -> None:
    """In prose, runbooks, summaries of alerts and the dashboard; a histogram also without its suffix."""
    known = {re.sub(r"_bucket$", "", name) for name in series()} | series().keys() | OTHER_NAMES
    for path in [*TEXTS, ROOT / "docs" / "grafana" / "cutout.json"]:
        unknown = set(NAME.findall(path.read_text())) - known
        assert not unknown, f"{path.relative_to(ROOT)} names {sorted(unknown)}"


def test_a_legend_names_labels_that_are_left() -> None:
    """A panel writes labels beside its lines by which its expression groups."""
    for target in TARGETS:
        grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
        left = set(re.findall(r"\w+", " ".join(grouped)))
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left, target


def test_an_alert_says_how_bad_it_is_and_what_it_means() -> None:
    """Names are unique; each has a severity and a summary whose labels its expression keeps."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        summary = rule["annotations"]["summary"]
        used = set(re.findall(r"\$labels\.(\w+)", summary))
        assert used <= {*_grouped(rule["expr"]), *_labels_of_absent(rule["expr"])}, rule["alert"]


def _labels_of_absent(expression: str) -> list[str]:
    return re.findall(r"absent\(\w+\{(\w+)=", expression)


def _grouped(expression: str) -> Iterator[str]:
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        yield from re.findall(r"\w+", labels)
