"""The Celery app: one message a job, two UPDATEs. A job whose worker dies is never seen again."""

from functools import cache

from celery import Celery
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, update

from bench.plain_steps import PlainSteps
from cutout.settings import read_settings

_settings = read_settings()

app = Celery("plain", broker=_settings.redis_url.get_secret_value())
app.conf.update(
    task_ignore_result=True,
    task_default_queue="plain",
    broker_connection_retry_on_startup=True,
)

PLAIN_JOBS = Table(
    "plain_jobs",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("key", Text),
)


@app.task(name="plain.cut_out")  # type: ignore[untyped-decorator]
def cut_out(job_id: int, source: str, fits: bool) -> None:  # noqa: FBT001 - a message has no keywords
    """Do one job: `source` is its picture's key."""
    engine, steps, key = _engine(), _steps(fits=fits), f"plain/{job_id}.png"
    with engine.begin() as connection:
        connection.execute(update(PLAIN_JOBS).where(PLAIN_JOBS.c.id == job_id).values(state="running"))
    steps.cut_out(steps.read(source), key)
    with engine.begin() as connection:
        change = update(PLAIN_JOBS).where(PLAIN_JOBS.c.id == job_id).values(state="succeeded", key=key)
        connection.execute(change)


@cache
def _engine() -> Engine:
    return create_engine(_settings.database_url.get_secret_value(), pool_size=_settings.worker_threads)


@cache
def _steps(*, fits: bool) -> PlainSteps:
    return PlainSteps(_settings, _settings.worker_threads, fits=fits)
