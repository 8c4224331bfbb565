import os
import signal
import time
from collections.abc import Iterator
from datetime import time as clock
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import Overlap
from cutout.schedules import manage
from cutout.schedules.definition import NewSchedule
from cutout.storage import Bucket
from tests.support.clock import each_day_but_now
from tests.support.forked import Forked, start_module
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

SECONDS = 12
EACH_SECOND = "* * * * * *"


@pytest.fixture
def night(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher, worker and ingester, running."""
    with System(environment, tmp_path, api=False) as running:
        running.start("ingester", "ingester")
        yield running


class TestANight:
    @pytest.mark.long("runs everything for a night")
    def test_waits_for_its_window_and_goes_through_it(
        self, night: System, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        """Read at once, but no call before the window opens; then by itself to the end."""
        drop = tmp_path / "drop"
        drop.mkdir()
        for n in range(3):
            (drop / f"{n}.png").write_bytes(encoded(plain(), "PNG"))
        with Session(night.engine) as session, session.begin():
            hour = session.execute(
                text("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')::int")
            ).scalar_one()
            # Three hours ahead of now, whatever the hour.
            window = clock((hour + 3) % 24), clock((hour + 4) % 24)
            new = NewSchedule("nightly", str(drop), each_day_but_now(), window=window, run_budget=2)
            manage.run_now(session, manage.add(session, new).id)
        night.until("SELECT count(*) = 3 FROM jobs")
        night.until("SELECT state = 'working' FROM runs")
        night.until("SELECT count(*) = 3 FROM jobs WHERE queue_state = 'blocked'")
        assert sandbox.charges() == 0
        night.execute("UPDATE batches SET opens_at = now()")
        night.until("SELECT state = 'over_budget' FROM runs")
        assert sandbox.charges() == 2
        run = night.row("SELECT counts, finished_at FROM runs")
        counts = {name: run["counts"][name] for name in ("jobs", "succeeded", "held", "credits", "new")}
        assert counts == {"jobs": 3, "succeeded": 2, "held": 1, "credits": 2, "new": 3}

    @pytest.mark.long("waits for an ingester's tries; tests/cutout/ingest/ has sources that vanished")
    def test_whose_source_has_vanished_fails_and_says_so(self, night: System, tmp_path: Path) -> None:
        """The next one is not kept from beginning."""
        with Session(night.engine) as session, session.begin():
            schedule = manage.add(session, NewSchedule("nightly", str(tmp_path / "gone"), each_day_but_now()))
            schedule_id = schedule.id
            manage.run_now(session, schedule_id)
        night.until("SELECT state = 'failed' FROM runs")
        assert night.scalar("SELECT note FROM runs").endswith("gone is neither a directory nor a file")
        with Session(night.engine) as session, session.begin():
            manage.run_now(session, schedule_id)
        night.until("SELECT count(*) = 2 FROM runs WHERE state = 'failed'")


@pytest.mark.long("fires for 10 s while leaders are killed; tests/cutout/schedules/test_fire.py fires once")
def test_runs_are_neither_missed_nor_doubled_when_the_leader_is_killed(
    environment: dict[str, str], engine: Engine, bucket: Bucket, tmp_path: Path
) -> None:
    """Two dispatchers, a schedule of every second, kill -9 for whichever fired the first ones."""
    with Session(engine) as session, session.begin():
        manage.add(session, NewSchedule("often", "/nowhere", EACH_SECOND, overlap=Overlap.QUEUE))
    processes: list[Forked] = []

    def scalar(query: str) -> int:
        with engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())

    try:
        for n in range(2):
            log = tmp_path / f"{n}.log"
            processes.append(start_module("worker.dispatcher", environment=os.environ | environment, log=log))
            # The first one leads.
            wait_until(lambda: scalar("SELECT count(*) FROM runs") > 2, "the first runs")
        processes[0].send_signal(signal.SIGKILL)
        time.sleep(SECONDS / 2)
        wait_until(lambda: scalar("SELECT count(*) FROM runs") > SECONDS, "the runs after the death")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    with engine.connect() as connection:
        times = connection.execute(text("SELECT fire_at FROM runs ORDER BY fire_at")).scalars().all()
        states = connection.execute(text("SELECT DISTINCT state FROM runs")).scalars().all()
    gaps = {(later - earlier).total_seconds() for earlier, later in pairwise(times)}
    assert gaps == {1.0}
    assert "skipped" not in states
    assert scalar("SELECT extract(epoch FROM max(fired_at - due_at)) FROM runs") <= 12
