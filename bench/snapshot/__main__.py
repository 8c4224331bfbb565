"""Dispatch and settling beside a snapshot that is held open, as pg_dump holds one: one table.

Processor seconds of the Postgres session that does the work, without the snapshot and with it.
"""

import argparse
import tempfile
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from bench.table import head, line, put, verdict
from cutout import queue
from cutout.billing import accounts
from cutout.enums import AttemptOutcome
from cutout.models.database import connect
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import StoredObject, Succeeded
from cutout.queue.dispatch import dispatch
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.reuse.serve_reused import Dispatched
from cutout.queue.snapshot import read_snapshot
from cutout.queue.snapshot_watermarks import SnapshotWatermarks
from local import LocalServices
from migrations.run import upgrade

JOBS = 20_000
A_TICK = 100
A_PART = 2_000
MOST = 1.5
MAKING = queue.Recipe("https://endpoint.example/cutout", 1, "cutouts")
LEASE = timedelta(seconds=60)
ACCOUNT = "bench"
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
STORED = StoredObject("cutouts/a.png", b"\xab" * 32, "image/png", 12_345, 10, 20)


@dataclass
class Cost:
    """Processor seconds of each part of the jobs."""

    dispatch: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)


class Way:
    """The way of a job through Postgres, on one connection: dispatcher and worker in turn."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        accounts.ensure(connection, ACCOUNT)
        self._worker = workers.register(connection, host="bench", pid=1)
        self._watermarks, self._queue_watermarks = SnapshotWatermarks(), QueueWatermarks()
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        self._session = psutil.Process(pid)

    def go(self, jobs: int) -> Cost:
        """Let so many jobs pass."""
        cost = Cost()
        for _ in range(jobs // A_PART):
            dispatch_s = settle = 0.0
            for _ in range(A_PART // A_TICK):
                began = self._seconds()
                read_snapshot(
                    self._connection,
                    [ACCOUNT],
                    watermarks=self._watermarks,
                    queue_watermarks=self._queue_watermarks,
                    lease=LEASE,
                )
                turns = dispatch(self._connection, A_TICK, lease=LEASE, watermarks=self._queue_watermarks)
                handed = self._seconds()
                self._carry(turns.calls)
                dispatch_s += handed - began
                settle += self._seconds() - handed
            cost.dispatch.append(dispatch_s)
            cost.settle.append(settle)
        return cost

    def _carry(self, dispatched: Dispatched) -> None:
        for job_id, fence in dispatched:
            claim = queue.claim(self._connection, job_id, fence, self._worker)
            assert claim is not None
            attempt = queue.begin_attempt(
                self._connection,
                claim,
                number=1,
                account=ACCOUNT,
                image_sha256=b"x" * 32,
                source_sha256=job_id.bytes,
                recipe=MAKING,
            )
            assert isinstance(attempt, int)
            paid = claim.with_result(
                queue.record_result(
                    self._connection,
                    claim,
                    attempt,
                    CHARGED,
                    url="https://r/1",
                    lifetime=timedelta(days=1),
                    sent=(10, 20),
                )
            )
            assert queue.settle(self._connection, paid, Succeeded(STORED))

    def _seconds(self) -> float:
        times = self._session.cpu_times()
        return times.user + times.system


def main() -> None:
    """Measure, and print a row for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.snapshot", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="jobs that pass each time [%(default)s]")
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as directory, LocalServices(Path(directory)) as services:
        engine = connect(services.database_url, connections=3, autocommit=True)
        upgrade(engine)
        # Plans made for empty tables cost more than any snapshot.
        _measure(engine, A_PART, snapshot=False)
        without, beside = (_measure(engine, jobs, snapshot=snapshot) for snapshot in (False, True))
        engine.dispose()
    put(head("What", "Without", "Beside", "Times", "Last 2,000", "Goal", ""))
    for what in ("dispatch", "settle"):
        _print(what, getattr(without, what), getattr(beside, what))
    both = [
        [sum(parts) for parts in zip(cost.dispatch, cost.settle, strict=True)] for cost in (without, beside)
    ]
    _print("both", *both)


def _print(what: str, without: list[float], beside: list[float]) -> None:
    times, last = sum(beside) / sum(without), beside[-1] / (sum(without) / len(without))
    cells = [
        what,
        f"{sum(without):.2f} s",
        f"{sum(beside):.2f} s",
        f"{times:.2f}",
        f"{last:.2f}",
        MOST,
        verdict(times <= MOST),
    ]
    put(line(*cells))


def _measure(engine: Engine, jobs: int, *, snapshot: bool) -> Cost:
    with Session(engine) as session:
        session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        enqueue_all(session, [NewJob(f"https://shop.example/{uuid.uuid4()}")] * jobs)
        session.commit()
    with ExitStack() as stack:
        connection = stack.enter_context(engine.connect())
        connection.execute(text("VACUUM ANALYZE"))
        if snapshot:
            old = stack.enter_context(engine.connect().execution_options(isolation_level="REPEATABLE READ"))
            old.execute(text("SELECT count(*) FROM jobs"))
        return Way(connection).go(jobs)


if __name__ == "__main__":
    main()
