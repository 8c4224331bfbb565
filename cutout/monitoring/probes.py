"""Probes of a process: whether its loops advance, and whether the stores that it needs answer.

They read memory, or ask a store one at a time however many probe, and never write to one.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from cutout.models.database import connect
from cutout.monitoring.check import Check
from cutout.monitoring.health import check_database, check_redis, find_bucket
from cutout.monitoring.prometheus import exposed
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.telemetry.loops import Turn, excuse_late, turns
from cutout.telemetry.metrics_server import LIVE, READY, shown
from cutout.telemetry.single_flight import SingleFlight

FRESH_S = 1.0
PATIENCE_S = 3.0
STATEMENT_TIMEOUT = {"statement_timeout": "5s"}
STORE_UP = "cutout_store_up"
STORE_UP_TEXT = "Whether a store that the process needs answers: database (with its schema), redis or bucket"

Look = SingleFlight[list[Check]]
Pending = Callable[[Engine], bool]


def share_look(name: str, checks: Callable[[], list[Check]]) -> Look:
    """A look at a store that all who probe share, fresh for a second."""
    return SingleFlight(f"look at {name}", checks, fresh_s=FRESH_S)


def found_by(looks: Mapping[str, Look], within_s: float = PATIENCE_S) -> dict[str, list[Check]]:
    """The checks of all looks, made at the same time; a store that does not answer in time has one that
    failed.
    """
    begun = {name: each.begin() for name, each in looks.items()}
    return {name: _result(name, future, within_s) for name, future in begun.items()}


def _result(name: str, future: "Future[list[Check]]", within_s: float) -> list[Check]:
    try:
        return future.result(within_s)
    except TimeoutError:
        return [Check(name, ok=False, found=f"no answer within {within_s:g} s")]
    except Exception as error:  # noqa: BLE001 - a probe answers whatever happened
        return [Check(name, ok=False, found=f"went away ({type(error).__name__})", cause=error)]


def live_page(stores_answer: Callable[[], bool] = lambda: True) -> tuple[bool, bytes]:
    """Whether no loop is late, and the loops as JSON.

    A loop that waits for a store that does not answer is not late: a restart would not help.
    """
    now = turns()
    late = [turn for turn in now if turn.late]
    waits = bool(late) and not stores_answer()
    if waits:
        # Once the store is back, it has its time anew.
        excuse_late()
    live = not late or waits
    status = "waits for a store" if waits else "live" if live else "not live"
    return live, json.dumps({"status": status, "loops": _described(now)}).encode()


def _described(now: Collection[Turn]) -> list[dict[str, object]]:
    return [
        {"name": turn.name, "age_seconds": round(turn.age_s, 3), "limit_seconds": turn.limit_s}
        for turn in sorted(now, key=lambda turn: turn.name)
    ]


class Probes:
    """The probes of a process that works by loops, all but the API. It is ready once `loops` run."""

    def __init__(self, looks: Mapping[str, Look], loops: Collection[str]) -> None:
        self._looks, self._loops = looks, loops

    def live(self) -> tuple[bool, bytes]:
        """The page `/livez`."""
        return live_page(lambda: all(_is_up(checks) for checks in found_by(self._looks).values()))

    def ready(self) -> tuple[bool, bytes]:
        """The page `/readyz`: live, started, and all stores answer."""
        checks = {check.name: check for some in found_by(self._looks).values() for check in some}
        found = {name: check.found for name, check in checks.items()}
        running = {turn.name: turn.late for turn in turns()}
        found |= {name: "not started" for name in self._loops if name not in running}
        found |= {name: "late" for name, late in running.items() if late}
        ready = all(check.ok for check in checks.values()) and len(found) == len(checks)
        status = "ready" if ready else "not ready"
        return ready, json.dumps({"status": status, "checks": found}).encode()


class StoreMetrics(Collector):
    """Collector of whether each store answers; a scrape looks at them, as a probe does."""

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = looks

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metric without samples: registering must not ask the stores."""
        return iter([self._family()])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metric now."""
        family = self._family()
        for name, checks in found_by(self._looks).items():
            family.add_metric([name], float(_is_up(checks)))
        return iter([family])

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(STORE_UP, STORE_UP_TEXT, labels=["store"])


def _is_up(checks: Collection[Check]) -> bool:
    return all(check.ok for check in checks if check.needed)


@contextmanager
def probed(
    settings: Settings,
    pending: Pending,
    *,
    loops: Collection[str],
    redis: bool = False,
    bucket: Bucket | None = None,
) -> Iterator[None]:
    """Serve the probes at the metrics address while the context lasts.

    The database is asked over a connection of its own, which nothing else can take. `pending` says whether
    migrations have to be run. Without a metrics address nothing is done.
    """
    if settings.metrics_address is None:
        yield
        return
    with ExitStack() as stack:
        engine = connect(
            settings.database_url.get_secret_value(),
            connections=1,
            name="cutout-probe",
            autocommit=True,
            server_settings=STATEMENT_TIMEOUT,
        )
        stack.callback(engine.dispose)
        looks = {"database": share_look("database", lambda: check_database(engine, pending))}
        if redis:
            looks["redis"] = share_look("redis", lambda: [check_redis(settings)])
        if bucket is not None:
            looks["bucket"] = share_look("bucket", lambda: [find_bucket(bucket)])
        probes = Probes(looks, loops)
        stack.enter_context(shown(LIVE, probes.live))
        stack.enter_context(shown(READY, probes.ready))
        stack.enter_context(exposed(StoreMetrics(looks)))
        yield
