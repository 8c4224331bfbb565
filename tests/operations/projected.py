"""Scraped samples as series over time: quiet for an hour, then the trouble that was scraped, which lasts."""

import math
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.promtool import RULES, assert_alerts

QUIET_MINUTES = 60
# Longer than Prometheus looks back for a sample that is gone.
SETTLED_MINUTES = 12
COUNTERS = ("_total", "_count", "_sum", "_bucket")
TIMES = "_timestamp_seconds"


@dataclass(frozen=True)
class Scrape:
    """Every series with its value, by the text by which Prometheus chooses it, and when it was read."""

    values: dict[str, float]
    at: float

    def __or__(self, other: "Scrape") -> "Scrape":
        return Scrape(self.values | other.values, other.at)

    @property
    def names(self) -> set[str]:
        return {name_of(series) for series in self.values}


def scrape(addresses: dict[str, str]) -> Scrape:
    """The metrics of these processes now, each as the instance of its name."""
    values: dict[str, float] = {}
    for instance, address in addresses.items():
        answer = httpx.get(f"http://{address}/metrics", timeout=30.0).raise_for_status()
        values.update(parsed(answer.text, instance))
    return Scrape(values, time.time())


def parsed(page: str, instance: str) -> Iterable[tuple[str, float]]:
    """The samples of one page that are numbers."""
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sample.labels | {"instance": instance, "job": "cutout"}
            chosen = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
            if math.isfinite(sample.value):
                yield f"{sample.name}{{{chosen}}}", sample.value


def assert_fires(alert: str, quiet: Scrape, trouble: Scrape) -> None:
    """The alert fires on the trouble, and did not before it."""
    minutes = _minutes(RULES[alert]["for"])
    at_minute = QUIET_MINUTES + minutes + SETTLED_MINUTES
    series = _projected(quiet, trouble, at_minute, _asked(alert))
    assert_alerts(series, {alert: False}, at_minute=QUIET_MINUTES - 1)
    assert_alerts(series, {alert: True}, at_minute=at_minute)


def assert_all_silent(quiet: Scrape) -> None:
    """No alert fires on this scrape, however long it stays so."""
    at_minute = QUIET_MINUTES + 60 + SETTLED_MINUTES
    asked = set().union(*map(_asked, RULES))
    assert_alerts(
        _projected(quiet, quiet, at_minute, asked), dict.fromkeys(RULES, False), at_minute=at_minute
    )


def _projected(quiet: Scrape, trouble: Scrape, at_minute: int, asked: set[str]) -> dict[str, str]:
    """Gauges keep their value. A counter grows each minute by what it grew by between the scrapes."""
    series = {}
    after = at_minute + 1 - QUIET_MINUTES
    for name in {*quiet.values, *trouble.values}:
        if name_of(name) not in asked:
            continue
        before, then = quiet.values.get(name), trouble.values.get(name)
        if name_of(name).endswith(TIMES):
            # At the end of each part it is as old as it was when it was scraped.
            before = before and before - quiet.at + QUIET_MINUTES * 60
            then = then and then - trouble.at + at_minute * 60
        first = f"_x{QUIET_MINUTES}" if before is None else f"{before:.6f}+0x{QUIET_MINUTES - 1}"
        if then is None:
            series[name] = first
        elif name_of(name).endswith(COUNTERS):
            grown = then - (before or 0.0)
            series[name] = f"{first} {then:.6f}+{grown:.6f}x{after}"
        else:
            series[name] = f"{first} {then:.6f}+0x{after}"
    return series


def name_of(series: str) -> str:
    return series.partition("{")[0]


def _asked(alert: str) -> set[str]:
    return set(re.findall(r"\bcutout_\w+", RULES[alert]["expr"]))


def _minutes(duration: str) -> int:
    return int(duration[:-1]) * {"m": 1, "h": 60}[duration[-1]]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
