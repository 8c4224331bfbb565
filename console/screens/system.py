"""System: health checks, processes, tables with their sizes, retention, and API keys."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, text

from console.changes.action_text import shown_action
from console.pages import Asked, screen
from console.screens.operators import require_operator
from console.screens.router import screen_router
from console.views import View
from cutout.models import PRODUCERS, WORKERS, ApiKey
from cutout.monitoring.overview import RECENT_WORKERS
from cutout.producers.key_expiry import expires_soon
from cutout.queue.leader import leader_exists
from cutout.queue.workers import HEARD_WITHIN
from cutout.settings import Settings
from cutout.status.action_log import ActionFilter, LoggedAction, find_actions

router = screen_router()

# The checks take seconds, and write a small object into the bucket.
CHECKS_EVERY_S = 60.0
KEYS_A_PAGE = 50
ACTIONS_A_PAGE = 25
MOST_WORKERS = 200

TABLES = text("""
    SELECT c.relname AS name, greatest(s.n_live_tup, 0) AS rows, s.n_dead_tup AS dead,
        pg_table_size(c.oid) AS size, pg_indexes_size(c.oid) AS indexes,
        greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at
    FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
    ORDER BY pg_total_relation_size(c.oid) DESC
""")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table of Postgres: rows are its own estimate, sizes are bytes."""

    name: str
    rows: int
    dead: int
    size: int
    indexes: int
    vacuumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process that was heard within the last hour."""

    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    call_threads: int | None
    jobs: int | None
    cut_off_at: datetime | None
    cut_off_reason: str | None
    is_silent: bool


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key: never its text or hash. `producer` is None for an operator's."""

    id: uuid.UUID
    name: str
    producer: str | None
    scopes: Sequence[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    is_over: bool

    @property
    def ends_soon(self) -> bool:
        return self.revoked_at is None and not self.is_over and expires_soon(self.expires_at)


@dataclass(frozen=True, slots=True)
class Seen:
    """The answers of the database."""

    leads: bool
    workers: Sequence[WorkerRow]
    tables: Sequence[TableRow]
    keys: Sequence[KeyRow]
    actions: Sequence[LoggedAction]


@screen(router, "/console/system")
async def system(asked: Asked) -> View:
    """Is everything there that a job needs, and how large did it become?"""
    require_operator(asked.viewer)
    handed, before, acted_before = asked.console.handed, asked.after(), asked.after("acted")
    checks = asked.console.looks.look(("checks",), handed.check_all, every_s=CHECKS_EVERY_S)
    seen = await asked.read(lambda connection: _look(connection, before, acted_before))
    # The API may know no key of the endpoint: then nobody looked.
    asks_endpoint = bool(handed.settings.endpoint_api_keys)
    shown = [each for each in checks.value or () if asks_endpoint or each.name != "endpoint"]
    values: dict[str, Any] = {
        "checks": checks,
        "shown": shown,
        "wrong": [each for each in shown if not each.ok],
        "asks_endpoint": asks_endpoint,
        "seen": seen,
        "keys": seen.keys[:KEYS_A_PAGE],
        "next": seen.keys[KEYS_A_PAGE - 1].id if len(seen.keys) > KEYS_A_PAGE else None,
        "before": before,
        "actions": [shown_action(each, asked.viewer) for each in seen.actions[:ACTIONS_A_PAGE]],
        "next_actions": seen.actions[ACTIONS_A_PAGE - 1].id if len(seen.actions) > ACTIONS_A_PAGE else None,
        "acted_before": acted_before,
        "retention": retention(handed.settings),
        "base_url": asked.base_url,
    }
    return View("system.html", "System", values)


def retention(settings: Settings) -> list[tuple[str, str]]:
    """Names of what is kept, each with how long, by the settings."""
    return [
        ("Ended webhook deliveries", f"{settings.webhook_keep_days} days (`CUTOUT_WEBHOOK_KEEP_DAYS`)"),
        ("Actions", f"{settings.actions_keep_days} days (`CUTOUT_ACTIONS_KEEP_DAYS`)"),
        ("Answers for idempotency keys", "a day"),
        ("Records of actions", f"{settings.actions_keep_days} days (`CUTOUT_ACTIONS_KEEP_DAYS`)"),
        ("Sessions of this console", "7 days, or 12 hours without a request"),
        (
            "Jobs, calls, outputs, batches, schedules",
            "until they are deleted; calls are the bill, and stay",
        ),
        ("Cutouts and outputs", "for ever: they are paid for, and reused"),
    ]


def _look(connection: Connection, before: uuid.UUID | None, acted: uuid.UUID | None) -> Seen:
    return Seen(
        leader_exists(connection),
        _workers(connection),
        [TableRow(*row) for row in connection.execute(TABLES)],
        _keys(connection, before),
        find_actions(connection, ActionFilter(), before=acted, limit=ACTIONS_A_PAGE + 1),
    )


def _workers(connection: Connection) -> list[WorkerRow]:
    columns: list[Any] = [WORKERS.c[n] for n in ("host", "pid", "started_at", "heartbeat_at", "call_threads")]
    columns.append(func.cardinality(WORKERS.c.carried_jobs))
    columns += [WORKERS.c.cut_off_at, WORKERS.c.cut_off_reason]
    found: Select[*tuple[Any, ...]] = (
        select(*columns, WORKERS.c.heartbeat_at < func.now() - HEARD_WITHIN)
        .where(WORKERS.c.left_at.is_(None), WORKERS.c.heartbeat_at > func.now() - RECENT_WORKERS)
        .order_by(WORKERS.c.host, WORKERS.c.pid)
        .limit(MOST_WORKERS)
    )
    return [WorkerRow(*row) for row in connection.execute(found)]


def _keys(connection: Connection, before: uuid.UUID | None) -> list[KeyRow]:
    """The newest keys first, one more than a page."""
    found = (
        select(
            ApiKey.id,
            ApiKey.name,
            PRODUCERS.c.name,
            ApiKey.scopes,
            ApiKey.created_at,
            ApiKey.last_used_at,
            ApiKey.expires_at,
            ApiKey.revoked_at,
            func.coalesce(ApiKey.expires_at <= func.now(), False),
        )
        .outerjoin(PRODUCERS, PRODUCERS.c.id == ApiKey.producer_id)
        .order_by(ApiKey.id.desc())
        .limit(KEYS_A_PAGE + 1)
    )
    if before is not None:
        found = found.where(ApiKey.id < before)
    return [KeyRow(*row) for row in connection.execute(found)]
