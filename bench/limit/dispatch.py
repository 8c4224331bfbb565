"""Cost of dispatching one round of calls, by the size of the backlog."""

import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, text

from bench.table import Figure
from cutout.models.database import connect
from cutout.queue.dispatch import dispatch_calls
from local import LocalServices
from migrations.run import upgrade

FEW, MANY, SNOOZED = 1_000, 1_000_000, 100_000
WINDOW, TIMES, LEASE = 50, 15, timedelta(seconds=60)
GOAL = 1.3
# A tick while jobs go out is 100 ms.
MOST_SHARED_S = 0.025

PRODUCERS = 200
FILL = """
    INSERT INTO jobs (source, virtual_start, queue_state) SELECT 'https://shop.example/' || n, n, 'ready'
    FROM generate_series(1, :count) n
"""
MAKE_PRODUCERS = "INSERT INTO producers (name) SELECT 'p' || n FROM generate_series(1, :producers) n"
SHARE_OUT = """
    UPDATE jobs SET producer_id = its.id, queue_state = 'ready'
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM producers) AS its
    WHERE its.n = jobs.virtual_start::bigint % :producers + 1
"""
SNOOZE = """
    UPDATE jobs SET queue_state = 'delayed', scheduled_at = now() + interval '1 day'
    WHERE virtual_start <= :count
"""


def measure() -> list[Figure]:
    """Rows for a million, for a million of which the first 100,000 rest, and for those of 200 producers."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalServices(Path(directory), durable=False) as services,
    ):
        engine = connect(services.database_url, connections=1)
        upgrade(engine)
        with engine.connect() as connection:
            few = _fill(connection, FEW)
            many = _fill(connection, MANY)
            connection.execute(text(SNOOZE), {"count": SNOOZED})
            connection.commit()
            snoozed = _dispatch(connection)
            connection.execute(text(MAKE_PRODUCERS), {"producers": PRODUCERS})
            connection.execute(text(SHARE_OUT), {"producers": PRODUCERS})
            connection.commit()
            shared = _dispatch(connection)
        engine.dispose()
    return [
        _row(f"one window of {WINDOW} with {MANY:,} queued", many, few),
        _row(f"the same with {SNOOZED:,} at the head snoozed", snoozed, few),
        Figure(
            f"one window of {WINDOW} with {MANY:,} queued by {PRODUCERS} producers",
            f"{shared * 1000:.2f} ms",
            f"{MOST_SHARED_S * 1000:g} ms",
            shared <= MOST_SHARED_S,
        ),
    ]


def _fill(connection: Connection, count: int) -> float:
    connection.execute(text("TRUNCATE jobs CASCADE"))
    connection.execute(text(FILL), {"count": count})
    connection.commit()
    return _dispatch(connection)


def _dispatch(connection: Connection) -> float:
    """Median seconds of one window. Each is undone, so that every time the same jobs are at the head."""
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.execute(text("VACUUM ANALYZE jobs"))
    connection.commit()
    connection.execution_options(isolation_level="READ COMMITTED")
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        dispatched = dispatch_calls(connection, WINDOW, lease=LEASE)
        took.append(time.perf_counter() - began)
        if len(dispatched) != WINDOW:
            raise SystemExit(f"{len(dispatched)} jobs were dispatched")
        connection.rollback()
    return statistics.median(took)


def _row(what: str, seconds: float, few: float) -> Figure:
    ratio = seconds / few
    return Figure(
        what, f"{seconds * 1000:.2f} ms, {ratio:.2f} times that with {FEW:,}", f"{GOAL}", ratio <= GOAL
    )
