import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from cutout.billing import accounts
from cutout.enums import Priority
from cutout.models.database import connect
from cutout.monitoring.overview import read_overview
from cutout.monitoring.prometheus import NAMED, DatabaseMetrics
from cutout.producers.api_keys import make_key, revoke_keys
from cutout.producers.producers import create_producer
from cutout.queue import workers
from cutout.queue.attempts import unsaved_results
from cutout.queue.attempts.unsaved_results import Failure
from cutout.queue.blocks.isolated_workers import cut_off
from cutout.schedules.lateness import Lateness
from cutout.settings import Settings
from cutout.status.call_rate import CallSettings
from tests.cutout.schedules.steps import due_since, new_schedule
from tests.support.working import somebody_works


def insert(session: Session, jobs: int = 1, /, **columns: str) -> None:
    """Jobs that are ready for their call, with the columns given in SQL."""
    values = {
        "source": "'s3://b/k'",
        "virtual_start": "1",
        "state": "'queued'",
        "queue_state": "'ready'",
    } | columns
    session.execute(
        text(
            f"INSERT INTO jobs ({', '.join(values)}) SELECT {', '.join(values.values())}"  # noqa: S608
            f" FROM generate_series(1, {jobs})"
        )
    )


def paid(hours: int) -> dict[str, str]:
    """The columns of a job with a paid result that expires after this time."""
    return {
        "step": "'copy'",
        "result_url": "'https://a/b'",
        "result_expires_at": f"now() + interval '{hours} hours'",
    }


class TestTheFigures:
    def test_tell_what_stops_calls_by_itself(self, session: Session) -> None:
        """The metrics show each open breaker, hosts without fetched results, and workers that are cut off."""
        found = read_overview(session, NOBODY)
        assert (list(found.stops), found.cut_off_workers) == ([], 0)
        for _ in range(5):
            failure = Failure("r.example", "RESULT_HOST_REFUSED", "moved")
            unsaved_results.failed(session, uuid.uuid4(), datetime.now(UTC) + timedelta(hours=1), failure)
        cut_off(session, workers.register(session, host="h", pid=1), "no route")
        found = read_overview(session, NOBODY)
        assert [tuple(row) for row in found.stops] == [("results", "r.example", "RESULT_HOST_REFUSED")]
        assert found.cut_off_workers == 1

    def test_tell_when_the_first_key_expires(self, session: Session) -> None:
        """Of the valid keys that were used within 30 days; nothing if none of them ends."""
        assert read_overview(session, NOBODY).soonest_key_expiry is None
        producer, _ = create_producer(session, "shop")
        now = datetime.now(UTC)
        ends = {days: now + timedelta(days=days) for days in (-1, 1, 2, 3, 4, 5)}
        made = {days: make_key(session, producer.id, "k", expires_at=at)[0] for days, at in ends.items()}
        revoke_keys(session, made[1].id)
        assert read_overview(session, NOBODY).soonest_key_expiry is None
        for days, used_ago in ((-1, 2), (1, 2), (3, 31), (4, 29), (5, 0)):
            made[days].last_used_at = now - timedelta(days=used_ago)
        session.flush()
        assert read_overview(session, NOBODY).soonest_key_expiry == ends[4]

    @pytest.mark.parametrize(
        ("until", "seen", "expected"),
        [
            ("now() + interval '1 minute'", "now()", True),
            # Its probe is due or out, and has not succeeded.
            ("now() - interval '1 second'", "now()", True),
            ("now() - interval '1 hour'", "now() - interval '1 hour'", False),
            ("NULL", "now()", False),
        ],
    )
    def test_say_that_a_circuit_is_open_for_as_long_as_it_is(
        self, session: Session, until: str, seen: str, *, expected: bool
    ) -> None:
        """The circuit counts as open also at the moment of its probe."""
        accounts.ensure(session, "a")
        session.execute(
            text(
                "INSERT INTO limits (account, level, top, open_calls, waiting, calls_per_second,"  # noqa: S608
                f" latency_seconds, circuit_until, seen_at) VALUES ('a', 1, 1, 0, 0, 0, 0, {until}, {seen})"
            )
        )
        (row,) = read_overview(session, NOBODY).accounts
        assert row.circuit_open is expected

    def test_count_jobs_by_their_state(self, session: Session) -> None:
        """Queued jobs count by queue state and step, running by step, held by code; final ones not at all."""
        insert(session, 3)
        insert(session, 2, queue_state="'delayed'", scheduled_at="now() + interval '1 hour'")
        insert(session, 1, queue_state="'dispatched'", scheduled_at="now() + interval '1 minute'")
        insert(session, 4, queue_state="'blocked'")
        insert(session, 7, queue_state="'source_limit'")
        insert(session, 6, queue_state="'waiting'", waits_for="uuidv7()")
        insert(session, 2, state="'running'", queue_state="NULL", worker_id="uuidv7()")
        insert(session, 2, state="'held'", queue_state="NULL", code="'NO_ANSWER'")
        insert(session, 5, state="'held'", queue_state="'blocked'", code="'OVER_BUDGET'")
        insert(session, 9, state="'failed'", queue_state="NULL", code="'X_Y'", finished_at="now()")
        found = read_overview(session, NOBODY)
        assert {(row.state, row.queue_state, row.step): row.jobs for row in found.jobs} == {
            ("queued", "ready", "call"): 3,
            ("queued", "ready", "copy"): 0,
            ("queued", "delayed", "call"): 2,
            ("queued", "dispatched", "call"): 1,
            ("queued", "waiting", "call"): 6,
            ("queued", "source_limit", "call"): 7,
            ("queued", "blocked", "call"): 9,
            ("running", "", "call"): 2,
        }
        assert {row.code: (row.jobs, row.blocked) for row in found.held} == {
            "NO_ANSWER": (2, 0),
            "OVER_BUDGET": (5, 5),
        }

    def test_know_which_paid_result_expires_first(self, session: Session) -> None:
        """Ready, delayed and running jobs count; a result in the lifeboat is safe."""
        insert(session, **paid(9))
        insert(session, **paid(5), queue_state="'delayed'", scheduled_at="now() + interval '1 hour'")
        insert(session, **paid(7), state="'running'", queue_state="NULL", worker_id="uuidv7()")
        insert(session, **paid(1), lifeboat_key="'k'")
        found = read_overview(session, NOBODY)
        assert sum(row.at_risk for row in found.jobs) == 3
        assert found.next_expiry_s == pytest.approx(5 * 3600, abs=1)

    def test_say_how_long_the_first_in_the_queue_waits(self, session: Session) -> None:
        """The wait of the first job is by priority; overdue jobs are shown apart."""
        insert(session, virtual_start="5", scheduled_at="now() - interval '9 hours'")
        insert(session, virtual_start="2", scheduled_at="now() - interval '3 minutes'")
        insert(session, priority="0", scheduled_at="now() - interval '5 seconds'")
        insert(session, queue_state="'delayed'", scheduled_at="now() - interval '40 seconds'")
        insert(session, queue_state="'dispatched'", scheduled_at="now() + interval '40 seconds'")
        found = read_overview(session, NOBODY)
        assert found.first_in_line == pytest.approx({Priority.INTERACTIVE: 5, Priority.NORMAL: 180}, abs=1)
        assert found.overdue_s == pytest.approx(40, abs=1)

    def test_know_a_worker_that_was_restarted(self, session: Session) -> None:
        """A restarted worker has the host and pid of the dead one: the younger heartbeat counts, once."""
        session.execute(
            text("""
                INSERT INTO workers (host, pid, heartbeat_at)
                VALUES ('a', 7, now() - interval '9 minutes'), ('a', 7, now() - interval '4 seconds'),
                    ('b', 7, now() - interval '2 hours')
            """)
        )
        (row,) = read_overview(session, NOBODY).workers
        assert (row.host, row.pid) == ("a", 7)
        assert row.heartbeat_age_s == pytest.approx(4, abs=1)

    def test_tell_a_dispatcher_of_another_database_apart(self, engine: Engine, shared_engine: Engine) -> None:
        """The leader's lock in another database of the same server does not count here."""
        with somebody_works(engine), Session(engine) as here, Session(shared_engine) as elsewhere:
            assert read_overview(here, NOBODY).dispatcher_leads
            assert not read_overview(elsewhere, NOBODY).dispatcher_leads

    def test_count_schedules_that_are_late(self, session: Session) -> None:
        """A schedule whose time and grace are over without a run is late."""
        schedule = new_schedule(session)
        assert read_overview(session, NOBODY).late_schedules == {
            Lateness.NOT_FIRED: 0,
            Lateness.WINDOW_TOO_SHORT: 0,
        }
        due_since(session, schedule, datetime.now(UTC) - timedelta(hours=1))
        assert read_overview(session, NOBODY).late_schedules[Lateness.NOT_FIRED] == 1


NOBODY = CallSettings([])


def names(collector: Collector) -> set[str]:
    """The names of the metrics that have samples now."""
    return {family.name for family in collector.collect()}


class TestTheMetrics:
    def test_are_asked_of_postgres_once_for_all_who_ask(self, engine: Engine, settings: Settings) -> None:
        """Twenty scrapes at once, and one right after, cost one reading."""
        asked: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
        collector = DatabaseMetrics(engine, settings)
        scrapers = [threading.Thread(target=names, args=(collector,)) for _ in range(20)]
        for scraper in scrapers:
            scraper.start()
        for scraper in scrapers:
            scraper.join()
        assert "cutout_jobs" in names(collector)
        assert sum("jobs.state = 'held'" in statement for statement in asked) == 1

    def test_say_so_when_postgres_is_unreachable(self, settings: Settings) -> None:
        """Only one metric is left, which says that the others are missing; nothing is raised."""
        away = connect("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        (family,) = DatabaseMetrics(away, settings).collect()
        assert (family.name, family.samples[0].value) == ("cutout_database_up", 0.0)

    def test_are_described_without_asking(self, settings: Settings) -> None:
        """A process starts although Postgres is unreachable."""
        away = connect("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        assert {family.name for family in DatabaseMetrics(away, settings).describe()} == set(NAMED)
