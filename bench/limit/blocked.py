"""Cost of a tick that has jobs of blocked batches."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, text

from bench.table import Figure
from cutout.models.database import connect
from cutout.queue.blocks.blocked_jobs import Unblocker
from cutout.queue.snapshot import read_snapshot
from local import LocalServices
from migrations.run import upgrade

ALL_BATCHES, BLOCKED, JOBS_EACH, OTHERS = 105_000, 1_000, 100, 200_000
TIMES, MOST_TICKS = 101, 50
GOAL_MS = 5.0

FILL = """
    INSERT INTO batches (name) SELECT 'b' FROM generate_series(1, :batches);
    INSERT INTO ingests (batch_id, fingerprint, kind, finished_at)
    SELECT id, uuid_send(id), 'CSV', now() FROM batches;
    UPDATE batches SET paused_at = now(), budget = 0
    WHERE id IN (SELECT id FROM batches ORDER BY id LIMIT :blocked);
    INSERT INTO jobs (batch_id, source, virtual_start, queue_state) SELECT id, 's', n, 'blocked'
    FROM batches, generate_series(1, :each) n WHERE paused_at IS NOT NULL;
    INSERT INTO jobs (source, virtual_start, queue_state)
    SELECT 's', n, 'ready' FROM generate_series(1, :others) n
"""
OVER_BUDGET = """
    UPDATE jobs SET state = 'held', code = 'OVER_BUDGET' WHERE queue_state = 'blocked';
    UPDATE batches SET paused_at = NULL WHERE paused_at IS NOT NULL
"""
LAST = "(SELECT batch_id FROM jobs WHERE queue_state = 'blocked' ORDER BY batch_id DESC LIMIT 1)"


def measure() -> list[Figure]:
    """Rows for batches that are paused, and for batches without credits; none of their jobs may go."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalServices(Path(directory), durable=False) as services,
    ):
        engine = connect(services.database_url, connections=1)
        upgrade(engine)
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            counts = {"batches": ALL_BATCHES, "blocked": BLOCKED, "each": JOBS_EACH, "others": OTHERS}
            _do(connection, FILL, counts)
            rows = _look(connection, "paused")
            _do(connection, OVER_BUDGET, {})
            rows += _look(connection, "without credits")
            connection.execute(text(f"UPDATE batches SET budget = NULL WHERE id = {LAST}"))  # noqa: S608
            rows.append(_ticks_until_back(connection))
        engine.dispose()
    return rows


def _do(connection: Connection, statements: str, counts: dict[str, int]) -> None:
    for statement in (*statements.split(";"), "VACUUM ANALYZE jobs", "VACUUM ANALYZE batches, ingests"):
        connection.execute(text(statement), counts)


def _look(connection: Connection, why: str) -> list[Figure]:
    unblocker = Unblocker()
    where = f"{BLOCKED * JOBS_EACH:,} jobs of {BLOCKED:,} batches {why}"
    seen = _median_ms(lambda: read_snapshot(connection, []))
    walked = _median_ms(lambda: unblocker.unblock(connection))
    return [
        Figure(f"a snapshot with {where}", f"{seen:.2f} ms", f"{GOAL_MS} ms", seen <= GOAL_MS),
        Figure(f"a tick's walk with {where}", f"{walked:.2f} ms", f"{GOAL_MS} ms", walked <= GOAL_MS),
    ]


def _median_ms(work: Callable[[], object]) -> float:
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def _ticks_until_back(connection: Connection) -> Figure:
    unblocker, ticks = Unblocker(), 1
    while not unblocker.unblock(connection) and ticks < MOST_TICKS:
        ticks += 1
    return Figure(f"ticks until the last of {BLOCKED:,} batches is back in the queue", str(ticks))
