"""The alerts: Prometheus takes them, each has a runbook, and each fires when it should and only then."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.support.promtool import ALERTS, RULES, assert_alerts, promtool

BASE = "https://cutout.example/"
RUNBOOKS = ROOT / "docs" / "operate" / "runbooks"
PARTS = ("At stake", "Look", "Do", "Escalate")
CASES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "alert_cases.yml").read_text())
AT_MINUTE = 80
# Each kind of process that `docker-compose.yml` runs by itself; a copier is a worker.
PROCESSES = ("api", "dispatcher", "ingester", "worker", "renderer")


def test_prometheus_takes_the_rules() -> None:
    """Promtool finds no fault in docs/alerts.yml."""
    done = promtool("check", "rules", str(ALERTS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_has_its_runbook(alert: str) -> None:
    """Its address leads to a page of the repository, which says what is at stake, and how to look and act."""
    url = RULES[alert]["annotations"]["runbook_url"]
    page = ROOT / url.removeprefix(BASE)
    assert page == RUNBOOKS / f"{alert}.md"
    told = page.read_text()
    assert told.startswith(f"# {alert}\n")
    assert re.findall(r"^\*\*(.+?)\.\*\*", told, re.MULTILINE) == list(PARTS)


def test_a_runbook_has_its_alert() -> None:
    """No page is left of an alert that is gone."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_waits_a_while(alert: str) -> None:
    """No single scrape wakes anybody, and nobody sleeps longer than an hour."""
    number, unit = re.fullmatch(r"(\d+)([mh])", RULES[alert]["for"]).groups()  # type: ignore[union-attr]
    assert 1 <= int(number) * {"m": 1, "h": 60}[unit] <= 60


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_that_is_gone_is_noticed(process: str) -> None:
    """Without any of its kind the alert fires, although all other metrics of it are gone too."""
    there = {f'cutout_build_info{{process="{other}"}}': "1+0x90" for other in PROCESSES if other != process}
    assert_alerts(there, {"CutoutProcessAbsent": True}, at_minute=AT_MINUTE)


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_fires_when_it_should_and_only_then(alert: str) -> None:
    """On the series of alert_cases.yml, which stand on both sides of its threshold."""
    for case, fires in (("fires", True), ("silent", False)):
        assert_alerts(CASES[alert][case], {alert: fires}, at_minute=AT_MINUTE)


def test_no_case_is_left_over() -> None:
    """Cases are of alerts that there are."""
    assert set(CASES) == set(RULES)
