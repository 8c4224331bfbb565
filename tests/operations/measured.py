"""A system whose processes each serve metrics."""

from collections.abc import Mapping
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.forked import Forked
from tests.support.ports import free_port
from tests.support.system import System

Samples = dict[tuple[str, ...], float]


class MeasuredSystem(System):
    """Each process at an address of its own."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        super().__init__(environment, logs)
        self.addresses: dict[str, str] = {}

    def start(self, name: str, *command: str) -> Forked:
        """Start it with an address for its metrics."""
        self.addresses[name] = f"127.0.0.1:{free_port()}"
        self.environment = self.environment | {"CUTOUT_METRICS_ADDRESS": self.addresses[name]}
        return super().start(name, *command)

    def samples(self, name: str) -> Samples:
        """The metrics of a process."""
        return samples(f"http://{self.addresses[name]}/metrics")


def samples(url: str) -> Samples:
    """Every sample by its name and the values of its labels, in their names' order."""
    answer = httpx.get(url, timeout=15.0).raise_for_status()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
