"""What a process says: text or JSON lines on standard error, with the ids of what is being worked on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from cutout.settings import LogFormat, Settings

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
FIELDS = ("time", "level", "logger", "message", "request_id", "job_id", "batch_id", "exc_info", "stack_info")
# A module that is run is called __main__.
OURS = ("__main__", "api", "cli", "cutout", "migrations", "worker")
# These write addresses down, and those of results and of objects are secrets. Celery's two write two lines a
# message, which say less than the job's own state does.
QUIET = (
    *("boto3", "botocore", "httpcore", "httpx", "s3transfer", "urllib3"),
    *("celery.app.trace", "celery.worker.strategy"),
)

Ids = dict[str, str]

_ids: ContextVar[Ids | None] = ContextVar("ids", default=None)


def configure(settings: Settings) -> None:
    """Make the root logger write as the settings say, in place of whatever wrote before."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_ids)
    handler.setFormatter(_Lines() if settings.log_format is LogFormat.JSON else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def begin(**ids: str) -> Ids:
    """From here on, in this thread or task, every line of the log has these ids; note() adds to them."""
    begun = dict(ids)
    _ids.set(begun)
    return begun


def note(**ids: str) -> None:
    """Add ids to those of the request or job that is being worked on, if one is."""
    known = _ids.get()
    if known is not None:
        known.update(ids)


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Every line of the log has these ids while the context lasts."""
    before = _ids.set(dict(ids))
    try:
        yield
    finally:
        _ids.reset(before)


def _add_ids(record: logging.LogRecord) -> bool:
    record.__dict__.update(_ids.get() or {})
    return True


class _Lines(JsonFormatter):
    """One JSON object a line. Libraries put more into their records than anyone has looked through."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out all but FIELDS."""
        return {name: log_data[name] for name in FIELDS if name in log_data}
