"""Metrics read from Postgres when Prometheus scrapes, and kept for some seconds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cutout.enums import QueueState, Stop
from cutout.models.database import is_away
from cutout.monitoring.overview import Overview, read_overview
from cutout.monitoring.waiting import Waiting
from cutout.settings import Settings
from cutout.status.call_rate import CallSettings
from cutout.telemetry.single_flight import SingleFlight

log = logging.getLogger(__name__)

# However often it is scraped, Postgres is read at most this often, and is busy with it 5% of the time.
FRESH_S = 10.0
REST = 20.0
# Prometheus gives up after 10 s, and the look at the stores takes up to 3 s more.
PATIENCE_S = 6.0

NAMED = {
    "cutout_database_up": (
        "Whether Postgres answered: 1, or 0, and then the metrics below are missing",
        (),
    ),
    "cutout_jobs": ("Jobs that are queued or running", ("state", "queue_state", "step")),
    "cutout_held_jobs": ("Jobs that wait for a person, by their code", ("code",)),
    "cutout_first_in_line_wait_seconds": (
        "How long the first job in the queue has waited for its call",
        ("priority",),
    ),
    "cutout_overdue_seconds": ("How long a job has been due without becoming ready, 0 if none is", ()),
    "cutout_results_at_risk": ("Paid results that are neither in the bucket nor in the lifeboat", ()),
    "cutout_result_expiry_timestamp_seconds": (
        "When the first result at risk expires; missing if none is",
        (),
    ),
    "cutout_copy_lag_seconds": ("Since the oldest result at risk was paid for, 0 if none is", ()),
    "cutout_ledger_recent_calls": (
        "Calls of the ledger that were begun within the last hour",
        ("outcome",),
    ),
    "cutout_account_paused": ("Whether the account's calls are paused, and why", ("account", "code")),
    "cutout_account_credits": ("Credits left when they were last read", ("account",)),
    "cutout_account_credits_read_timestamp_seconds": (
        "When the account's credits were last read",
        ("account",),
    ),
    "cutout_limit_calls": ("Calls that the limit allows at once", ("account",)),
    "cutout_limit_open_calls": ("Open calls", ("account",)),
    "cutout_limit_waiting_calls": ("Calls that wait for a slot", ("account",)),
    "cutout_limit_calls_per_second": ("Recent calls a second", ("account",)),
    "cutout_limit_latency_seconds": ("How long a call takes", ("account",)),
    "cutout_limit_circuit_open": ("Whether the endpoint fails for all jobs", ("account",)),
    "cutout_limit_stored_timestamp_seconds": ("When a dispatcher last stored the limit", ("account",)),
    "cutout_calls_stopped": (
        "Whether calls are stopped: paused by an operator, by a breaker, or the day's budget is spent",
        ("reason",),
    ),
    "cutout_results_not_fetched": (
        "At which host paid results cannot be fetched, and why; missing while they can",
        ("host", "code"),
    ),
    "cutout_missing_cutouts": (
        "Bought cutouts that are needed and that the bucket lacks, once too many to buy them again",
        (),
    ),
    "cutout_workers_cut_off": ("Worker processes that do not reach the bucket", ()),
    "cutout_day_spent_credits": (
        "Credits that today's calls cost or may have cost, while there is a budget",
        (),
    ),
    "cutout_dispatcher_has_leader": ("Whether a dispatcher leads", ()),
    "cutout_workers": ("Worker processes heard within the last minute", ()),
    "cutout_workers_silent": (
        "Worker processes that did not sign off and were last heard between a minute and an hour ago",
        (),
    ),
    "cutout_workers_oldest_heartbeat_timestamp_seconds": (
        "When the most silent of both was last heard; missing without any",
        (),
    ),
    "cutout_unfinished_ingests": ("Ingests that are under way or were interrupted", ()),
    "cutout_ingest_requests_waiting": ("Requested ingests that have not ended and are due", ()),
    "cutout_ingest_requests_oldest_timestamp_seconds": (
        "When the oldest of them became due; missing if none waits",
        (),
    ),
    "cutout_webhooks_waiting": ("Webhooks that are not delivered and not given up", ()),
    "cutout_webhooks_oldest_timestamp_seconds": (
        "When the oldest of them was written; missing if none waits",
        (),
    ),
    "cutout_webhooks_untried_oldest_timestamp_seconds": (
        "When the oldest of those that were never tried was written; missing if there is none",
        (),
    ),
    "cutout_lifeboat_results": ("Paid results that are in the lifeboat and not yet in the bucket", ()),
    "cutout_database_connections": ("Connections to the Postgres server, of all its clients", ()),
    "cutout_database_connections_limit": ("Connections that the Postgres server takes", ()),
    "cutout_api_key_soonest_expiry_timestamp_seconds": (
        "When the first of the valid API keys that were used within 30 days expires; missing if none does",
        (),
    ),
    "cutout_actions_waiting": ("Changes of whole batches that wait or are carried out", ()),
    "cutout_actions_oldest_timestamp_seconds": (
        "When the oldest of them was asked for; missing if none waits",
        (),
    ),
    "cutout_outputs_waiting": ("Outputs that wait for a renderer, or are being made", ()),
    "cutout_outputs_oldest_timestamp_seconds": (
        "When the oldest of them was asked for; missing if none waits",
        (),
    ),
    "cutout_outputs_backlog_seconds": (
        "Until they are made by the renderers that run; missing while none runs",
        (),
    ),
    "cutout_outputs_backlog_renderer_seconds": ("Seconds of a renderer's work that wait", ()),
    "cutout_renderer_processes": ("Pictures that the running renderers make at a time", ()),
    "cutout_oldest_snapshot_seconds": (
        "How long the oldest snapshot of any session has been held: dead rows are not removed meanwhile",
        (),
    ),
    "cutout_late_schedules": (
        "Schedules whose run has not fired, or whose window will not suffice",
        ("lateness",),
    ),
}

HEARD_WITHIN_S = 60.0


class DatabaseMetrics(Collector):
    """Collector that reads Postgres over a connection of its own, which busy requests cannot take."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._overview = SingleFlight("figures", self._read, fresh_s=FRESH_S, rest=REST)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics without samples: registering must not read the database."""
        return iter(_Families().all())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics now; if Postgres does not answer, only `cutout_database_up`."""
        families = _Families()
        try:
            found = self._overview.get(PATIENCE_S)
        except (SQLAlchemyError, TimeoutError) as error:
            expected = isinstance(error, TimeoutError) or is_away(error)
            log.warning("no metrics: Postgres is unreachable", exc_info=None if expected else error)
            families.add("cutout_database_up", 0)
        else:
            families.add("cutout_database_up", 1)
            _fill(families, found, self._settings)
        return iter(families.filled())

    def _read(self) -> Overview:
        with Session(self._engine) as session:
            return read_overview(session, CallSettings.of(self._settings))


@contextmanager
def exposed(collector: Collector) -> Iterator[None]:
    """Expose the collector's metrics while the context lasts."""
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


class _Families:
    """All metric families, by name."""

    def __init__(self) -> None:
        self._by_name = {
            name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in NAMED.items()
        }

    def add(self, name: str, value: float | None, *labels: object) -> None:
        """Add one sample; none for an unknown value."""
        if value is not None:
            self._by_name[name].add_metric([str(label) for label in labels], float(value))

    def all(self) -> list[GaugeMetricFamily]:
        return list(self._by_name.values())

    def filled(self) -> list[GaugeMetricFamily]:
        return [family for family in self._by_name.values() if family.samples]


def _fill(families: _Families, found: Overview, settings: Settings) -> None:
    _fill_jobs(families, found, settings)
    _fill_accounts(families, found)
    add = families.add
    for outcome, calls in found.calls.items():
        add("cutout_ledger_recent_calls", calls, outcome)
    add("cutout_calls_stopped", found.line_paused, "paused")
    open_kinds = {row.kind for row in found.stops}
    for kind in Stop:
        add("cutout_calls_stopped", kind in open_kinds, kind)
    for row in found.stops:
        if row.kind == Stop.RESULTS:
            add("cutout_results_not_fetched", 1, row.host, row.code)
    add("cutout_workers_cut_off", found.cut_off_workers)
    missing = found.missing_cutouts
    add("cutout_missing_cutouts", missing.cutouts if missing.stopped else 0)
    budget = settings.day_budget
    add("cutout_calls_stopped", budget is not None and found.day_spent >= budget, "day-budget")
    add("cutout_day_spent_credits", found.day_spent)
    add("cutout_dispatcher_has_leader", found.dispatcher_leads)
    ages = [row.heartbeat_age_s for row in found.workers]
    add("cutout_workers", sum(age < HEARD_WITHIN_S for age in ages))
    add("cutout_workers_silent", sum(age >= HEARD_WITHIN_S for age in ages))
    add("cutout_workers_oldest_heartbeat_timestamp_seconds", found.ago(max(ages, default=None)))
    _fill_waiting(families, found.waiting)
    expiry = found.soonest_key_expiry
    add("cutout_api_key_soonest_expiry_timestamp_seconds", expiry.timestamp() if expiry else None)
    add("cutout_unfinished_ingests", found.unfinished_ingests)
    add("cutout_actions_waiting", found.unfinished_actions)
    add("cutout_actions_oldest_timestamp_seconds", found.ago(found.oldest_action_s))
    add("cutout_oldest_snapshot_seconds", found.oldest_snapshot_s)
    add("cutout_outputs_waiting", found.outputs.waiting)
    add("cutout_outputs_oldest_timestamp_seconds", found.ago(found.outputs.oldest_s or None))
    add("cutout_outputs_backlog_seconds", found.outputs.seconds)
    add("cutout_outputs_backlog_renderer_seconds", found.outputs.busy_s)
    add("cutout_renderer_processes", found.outputs.processes)
    for lateness, schedules in found.late_schedules.items():
        add("cutout_late_schedules", schedules, lateness)


def _fill_waiting(families: _Families, found: Waiting) -> None:
    add = families.add
    add("cutout_ingest_requests_waiting", found.ingests)
    add("cutout_ingest_requests_oldest_timestamp_seconds", found.ingests_since)
    add("cutout_webhooks_waiting", found.webhooks)
    add("cutout_webhooks_oldest_timestamp_seconds", found.webhooks_since)
    add("cutout_webhooks_untried_oldest_timestamp_seconds", found.untried_since)
    add("cutout_database_connections", found.connections)
    add("cutout_database_connections_limit", found.connections_limit)


def _fill_jobs(families: _Families, found: Overview, settings: Settings) -> None:
    add = families.add
    held_and_blocked = sum(row.blocked for row in found.held)
    for row in found.jobs:
        # Some blocked jobs are held; those are counted by their code.
        jobs = row.jobs - held_and_blocked if row.queue_state == QueueState.BLOCKED else row.jobs
        add("cutout_jobs", max(jobs, 0), row.state, row.queue_state, row.step)
    for row in found.held:
        add("cutout_held_jobs", row.jobs, row.code)
    for priority, wait in found.first_in_line.items():
        add("cutout_first_in_line_wait_seconds", wait, priority.name.lower())
    add("cutout_overdue_seconds", found.overdue_s)
    add("cutout_results_at_risk", found.at_risk)
    add("cutout_lifeboat_results", sum(row.in_lifeboat for row in found.jobs))
    left_s = found.next_expiry_s
    add("cutout_result_expiry_timestamp_seconds", None if left_s is None else found.ago(-left_s))
    age = settings.result_lifetime_seconds - found.next_expiry_s if found.next_expiry_s is not None else 0.0
    add("cutout_copy_lag_seconds", max(age, 0.0))


def _fill_accounts(families: _Families, found: Overview) -> None:
    add = families.add
    for row in found.accounts:
        add("cutout_account_paused", row.pause_code is not None, row.name, row.pause_code or "")
        add("cutout_account_credits", row.credits, row.name)
        add("cutout_account_credits_read_timestamp_seconds", found.ago(row.credits_age_s), row.name)
        add("cutout_limit_calls", row.level, row.name)
        add("cutout_limit_open_calls", row.open_calls, row.name)
        add("cutout_limit_waiting_calls", row.waiting, row.name)
        add("cutout_limit_calls_per_second", row.calls_per_second, row.name)
        add("cutout_limit_latency_seconds", row.latency_seconds, row.name)
        if row.level is not None:
            add("cutout_limit_circuit_open", row.circuit_open, row.name)
        add("cutout_limit_stored_timestamp_seconds", found.ago(row.limit_age_s), row.name)
