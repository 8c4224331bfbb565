"""The table of metrics in docs/operate/metrics.md: `python -m tests.docs.metrics_table` renews it."""

import re
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

import api.metrics
import worker.dispatcher.metrics
import worker.ingester.metrics
import worker.metrics
import worker.webhooks.metrics
from cutout.monitoring import process_metrics
from cutout.monitoring.probes import STORE_UP, STORE_UP_TEXT
from cutout.monitoring.prometheus import NAMED
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "operate" / "metrics.md"
BEGIN, END = "<!-- metrics -->\n", "<!-- end of metrics -->\n"
OF_PROCESSES = (
    ("API", api.metrics),
    ("dispatcher", worker.dispatcher.metrics),
    ("dispatcher", worker.webhooks.metrics),
    ("ingester", worker.ingester.metrics),
    ("worker", worker.metrics),
)
# Of collectors, with their labels and meaning.
OF_ALL = {STORE_UP: (STORE_UP_TEXT, ("store",))} | {
    name: (text, labels) for name, (_, text, labels) in process_metrics.NAMED.items()
}
# The client library adds them on Linux.
OF_LIBRARY = {"process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"}
SUFFIXES: dict[type[MetricWrapperBase], tuple[str, ...]] = {
    Counter: ("_total",),
    Gauge: ("",),
    Histogram: ("_bucket", "_sum", "_count"),
}


def metrics_table() -> str:
    """One row a metric: the process that serves it, its labels and its meaning."""
    rows = ["| Name | Of | Labels | Meaning |", "|---|---|---|---|"]
    rows += [_row(name, "Postgres", labels, text) for name, (text, labels) in NAMED.items()]
    for process, metric in _of_processes():
        name = metric._name + ("_total" if isinstance(metric, Counter) else "")
        rows.append(_row(name, process, metric._labelnames, metric._documentation))
    rows += [_row(name, "each process", labels, text) for name, (text, labels) in OF_ALL.items()]
    return "\n".join(rows) + "\n"


def series() -> dict[str, set[str]]:
    """Every name that Prometheus can query, with its labels."""
    known = {name: set(labels) for name, (_, labels) in (NAMED | OF_ALL).items()}
    known |= {name: set() for name in OF_LIBRARY}
    for _, metric in _of_processes():
        for suffix in SUFFIXES[type(metric)]:
            known[metric._name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    return known


def renewed(page: str) -> str:
    """The page with the table as it should be."""
    marked = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    return marked.sub(lambda _: f"\n{metrics_table()}\n", page)


def _row(name: str, process: str, labels: tuple[str, ...], text: str) -> str:
    return f"| `{name}` | {process} | {', '.join(f'`{label}`' for label in labels)} | {text} |"


def _of_processes() -> Iterator[tuple[str, MetricWrapperBase]]:
    for process, module in OF_PROCESSES:
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                yield process, metric


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
