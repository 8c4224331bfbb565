"""Dispatchers of which the leading one is killed again and again, while schedules fire each second.

What is expected is reckoned from the clock alone: every schedule, every second. No source is read: runs queue
behind the first of their schedule.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bench.table import Figure
from cutout.enums import CatchUp, Overlap
from cutout.models import Schedule
from cutout.models.database import connect
from cutout.queue.leader import LEADER_LOCK
from cutout.schedules.definition import NewSchedule
from cutout.schedules.manage import add
from cutout.settings import load_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

LATEST_S = 12.0
WITHIN_S = 30.0
LEAD_TIME_S = 3.0
# Nobody listens there: a dispatcher that cannot read its credits does all the rest.
NO_ENDPOINT = "http://127.0.0.1:9"

WHO_LEADS = """
    SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.objid = :lock AND l.granted
"""
COUNTED = """
    SELECT count(*) AS runs,
        count(DISTINCT (schedule_id, fire_at)) AS different,
        count(*) FILTER (WHERE state = 'skipped') AS skipped,
        (SELECT count(*) FROM batches) AS batches,
        count(*) FILTER (WHERE batch_id IS NOT NULL) AS begun,
        extract(epoch FROM max(fired_at - due_at)) AS latest,
        extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY fired_at - due_at)) AS median,
        extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY fired_at - due_at)) AS p99
    FROM runs WHERE fire_at >= :begin AND fire_at < :end
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the measurement; times in seconds."""

    dispatchers: int
    schedules: int
    seconds: int
    kill_every: int


class Dispatchers:
    """So many processes, of which each that is killed is replaced at once."""

    def __init__(self, count: int, environment: dict[str, str], log: Path, engine: Engine) -> None:
        self._environment, self._log, self._engine = environment, log, engine
        self._running = [self._start() for _ in range(count)]
        self.killed = self.leaders_killed = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "worker.dispatcher"]
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill_one(self) -> None:
        """With SIGKILL: who leads or, should nobody just then, who has run for longest."""
        leader = self.leader()
        self.leaders_killed += leader is not None
        killed = leader or self._running[0]
        killed.kill()
        killed.wait()
        self._running.remove(killed)
        self._running.append(self._start())
        self.killed += 1

    def leader(self) -> "subprocess.Popen[bytes] | None":
        """The process whose connection holds the lock, if any does."""
        with self._engine.connect() as connection:
            port = connection.execute(text(WHO_LEADS), {"lock": LEADER_LOCK}).scalar()
        for process in self._running if port else []:
            its = psutil.Process(process.pid).net_connections("tcp")
            if any(one.laddr and one.laddr.port == port for one in its):
                return process
        return None

    def wait_for_leader(self) -> None:
        """Until the first one leads."""
        deadline = time.monotonic() + WITHIN_S
        while not self.leader():
            if time.monotonic() > deadline:
                raise SystemExit(f"no dispatcher leads within {WITHIN_S} s")
            time.sleep(0.1)

    def end(self) -> None:
        """Kill them all."""
        for process in self._running:
            process.kill()
            process.wait()


def measure(sizes: Sizes) -> list[Figure]:
    """Run it all on this machine, and hold the runs against the clock."""
    with _installation() as (environment, engine, directory):
        dispatchers = Dispatchers(sizes.dispatchers, environment, directory / "dispatchers.log", engine)
        try:
            dispatchers.wait_for_leader()
            begin = _add(engine, sizes.schedules)
            end = begin + timedelta(seconds=sizes.seconds)
            _kill_until(engine, dispatchers, end, sizes.kill_every)
            _wait_until_fired(engine, end)
            found = _one(engine, COUNTED, begin=begin, end=end)
        finally:
            dispatchers.end()
        return _rows(sizes, dispatchers, found)


@contextmanager
def _installation() -> Iterator[tuple[dict[str, str], Engine, Path]]:
    with tempfile.TemporaryDirectory() as named, LocalServices(Path(named)) as services:
        ours = {
            **services.environment(),
            "CUTOUT_S3_BUCKET": "bench",
            "CUTOUT_ENDPOINT_URL": NO_ENDPOINT,
            "CUTOUT_ENDPOINT_API_KEYS": "bench",
            "CUTOUT_RESULT_HOSTS": NO_ENDPOINT,
        }
        known = load_settings(**{key.removeprefix("CUTOUT_").lower(): value for key, value in ours.items()})
        engine = connect(known.database_url.get_secret_value(), connections=2)
        upgrade(engine)
        bucket = Bucket(known)
        bucket.create()
        bucket.close()
        yield {**os.environ, **ours}, engine, Path(named)
        engine.dispose()


def _add(engine: Engine, count: int) -> datetime:
    """Schedules of every second, the first of which is a little ahead for all."""
    with Session(engine) as session, session.begin():
        for n in range(count):
            new = NewSchedule(
                f"schedule {n}",
                "https://shop.example/feed.csv",
                "* * * * * *",
                overlap=Overlap.QUEUE,
                catch_up=CatchUp.LATEST,
            )
            add(session, new)
        begin: datetime = session.scalars(
            text("SELECT date_trunc('second', clock_timestamp()) + make_interval(secs => :lead)"),
            {"lead": LEAD_TIME_S},
        ).one()
        session.query(Schedule).update({"next_fire_at": begin, "next_due_at": begin})
    return begin


def _kill_until(engine: Engine, dispatchers: Dispatchers, end: datetime, every: int) -> None:
    kill_at = time.monotonic() + LEAD_TIME_S + every
    while _one(engine, "SELECT now() < :end AS goes_on", end=end).goes_on:
        if time.monotonic() >= kill_at:
            dispatchers.kill_one()
            kill_at += every
        time.sleep(0.1)


def _wait_until_fired(engine: Engine, end: datetime) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not _one(engine, "SELECT min(next_fire_at) >= :end AS done FROM schedules", end=end).done:
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _one(engine: Engine, query: str, **values: object) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(query), values).one()


def _rows(sizes: Sizes, dispatchers: Dispatchers, found: Any) -> list[Figure]:
    expected = sizes.schedules * sizes.seconds
    missed, doubled = expected - found.different + found.skipped, found.runs - found.different
    begun_twice = found.batches - found.begun
    return [
        Figure("dispatchers", f"{sizes.dispatchers}"),
        Figure("killed, those that led", f"{dispatchers.killed}, {dispatchers.leaders_killed}"),
        Figure("runs expected", f"{expected:,}"),
        Figure("missed", f"{missed:,}", "0", reached=missed == 0),
        Figure("doubled", f"{doubled:,}", "0", reached=doubled == 0),
        Figure("begun twice", f"{begun_twice:,}", "0", reached=begun_twice == 0),
        Figure("late by, median", f"{found.median:.2f} s"),
        Figure("late by, 99 of 100", f"{found.p99:.2f} s"),
        Figure("latest", f"{found.latest:.2f} s", f"{LATEST_S:.0f} s", reached=found.latest <= LATEST_S),
    ]
