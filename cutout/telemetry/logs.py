"""Logs: text or JSON lines on standard error, with the ids of the present request or job."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from cutout.settings import LogFormat, Settings

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
FIELDS = (
    *("time", "level", "logger", "message", "request_id", "producer_id", "key_id", "job_id", "batch_id"),
    # Of a request's own line.
    *("client", "duration_seconds"),
    # Of a line of the audit.
    *("action", "action_id"),
    *("exc_info", "stack_info"),
)
# By whom what was changed: approvals, cancellations, retries, deletions, pauses, keys, secrets.
AUDIT = "cutout.audit"
# The module that is run is named __main__.
OURS = ("__main__", "api", "cli", "cutout", "migrations", "worker")
# These log addresses, and those of results and objects are secrets. Celery's two loggers write two lines a
# message, with less information than the job's state.
QUIET = (
    *("boto3", "botocore", "httpcore", "httpx", "s3transfer", "urllib3"),
    *("celery.app.trace", "celery.worker.strategy"),
    # SQLAlchemy names the logger of a pool for its class.
    "cutout.models.pools.MeasuredPool",
)

Ids = dict[str, str]

_ids: ContextVar[Ids | None] = ContextVar("ids", default=None)


def configure(settings: Settings) -> None:
    """Configure the root logger by the settings, replacing its handlers."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_ids)
    handler.setFormatter(_JsonLines() if settings.log_format is LogFormat.JSON else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level)
    # However little else is wanted.
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def begin(**ids: str) -> Ids:
    """Add these ids to every later log line of this thread or task; note() adds further ones."""
    begun = dict(ids)
    _ids.set(begun)
    return begun


def note(**ids: str) -> None:
    """Add ids to those of the present request or job, if there is one."""
    known = _ids.get()
    if known is not None:
        known.update(ids)


def present(name: str) -> str | None:
    """The id of this name of the present request or job, if there is one."""
    return (_ids.get() or {}).get(name)


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Add these ids to every log line while the context lasts."""
    before = _ids.set(dict(ids))
    try:
        yield
    finally:
        _ids.reset(before)


def _add_ids(record: logging.LogRecord) -> bool:
    record.__dict__.update(_ids.get() or {})
    return True


class _JsonLines(JsonFormatter):
    """Formatter with one JSON object a line and only FIELDS: libraries add fields that nobody reviewed."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Keep only FIELDS."""
        return {name: log_data[name] for name in FIELDS if name in log_data}
