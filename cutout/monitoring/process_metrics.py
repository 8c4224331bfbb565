"""Metrics that every long-running process serves: what it is, and its pools of connections to Postgres."""

import platform
from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cutout import __version__
from cutout.models.pools import pools
from cutout.settings import Settings
from cutout.telemetry.metrics_server import serve_metrics

# The type, the meaning and the labels of each.
NAMED: dict[str, tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], str, tuple[str, ...]]] = {
    "cutout_build_info": (
        GaugeMetricFamily,
        "Always 1: the kind of process, its version, its source's revision and its Python",
        ("process", "version", "revision", "python"),
    ),
    "cutout_database_pool_connections": (
        GaugeMetricFamily,
        "Most connections to Postgres that a pool of the process opens",
        ("pool",),
    ),
    "cutout_database_pool_checked_out": (
        GaugeMetricFamily,
        "Connections of the pool that are in use",
        ("pool",),
    ),
    "cutout_database_pool_checkouts_total": (
        CounterMetricFamily,
        "How often a connection was taken from the pool, or waited for in vain",
        ("pool",),
    ),
    "cutout_database_pool_wait_seconds_total": (
        CounterMetricFamily,
        "Seconds until the pool gave a connection: one was free, opened, tested",
        ("pool",),
    ),
}


class ProcessMetrics(Collector):
    """Collector of these; it reads memory alone."""

    def __init__(self, process: str, settings: Settings) -> None:
        self._build = [process, __version__, settings.revision, platform.python_version()]

    def describe(self) -> Iterator[Metric]:
        """The metrics without samples."""
        return iter(_families().values())

    def collect(self) -> Iterator[Metric]:
        """The metrics now."""
        families = _families()
        families["cutout_build_info"].add_metric(self._build, 1)
        for name, use in pools().items():
            families["cutout_database_pool_connections"].add_metric([name], use.size)
            families["cutout_database_pool_checked_out"].add_metric([name], use.checked_out)
            families["cutout_database_pool_checkouts_total"].add_metric([name], use.taken)
            families["cutout_database_pool_wait_seconds_total"].add_metric([name], use.waited_s)
        return iter(families.values())


def serve_process(process: str, settings: Settings) -> None:
    """Serve the metrics of this process, its probes among them, if it has an address for them."""
    if settings.metrics_address is not None:
        REGISTRY.register(ProcessMetrics(process, settings))
    serve_metrics(settings.metrics_address)


def _families() -> dict[str, CounterMetricFamily | GaugeMetricFamily]:
    return {name: kind(name, text, labels=labels) for name, (kind, text, labels) in NAMED.items()}
