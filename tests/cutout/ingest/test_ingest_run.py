import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cutout.ingest import Counts, Ingest, IngestError, IngestOptions, ReadOptions, RejectsFile, open_source
from cutout.ingest import chunks as ingest_chunks
from cutout.models import Ingest as Row
from cutout.models import Job
from cutout.queue.blocks import approval
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import Run
from tests.support.steps import LEASE

WEB = "https://shop.example/a.jpg"
CHUNK = 10


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_chunks, "MOST_RECORDS", CHUNK)


def rows_of(count: int) -> str:
    """Every seventh row is invalid, every eleventh is a duplicate."""
    lines = ["external_id,source"]
    for n in range(count):
        lines.append(f"{n},{WEB}" if n % 7 else f"{n},")
        lines += [f"{n},{WEB}"] if n % 11 == 5 else []
    return "\n".join(lines) + "\n"


# Of 60 rows; the second row of 49 is valid.
GOOD = [str(n) for n in range(60) if n % 7 or n == 49]


class StoppedError(Exception):
    """The process ends here."""


class Stopping:
    """Ingests, and stops at the given chunk."""

    def __init__(self, engine: Engine, bucket: Bucket, settings: Settings, rejects: Path) -> None:
        self.resumed: list[Counts] = []
        self._parts = engine, bucket, settings, rejects

    def __call__(self, path: Path, chunks: int, **options: Any) -> uuid.UUID | None:
        engine, bucket, settings, rejects = self._parts
        ingest_options = IngestOptions("test", **options)
        left = iter(range(chunks))

        def watch(_: object) -> None:
            if next(left, None) is None:
                raise StoppedError

        with closing(open_source(str(path), ReadOptions(), settings, bucket)) as source:
            with RejectsFile(rejects) as file:
                run = Ingest(engine, bucket, source, ingest_options, file)
                with suppress(StoppedError):
                    run.run(on_resume=lambda _, counts: self.resumed.append(counts), watch=watch)
            return run.batch_id


@pytest.fixture
def stopping(engine: Engine, bucket: Bucket, settings: Settings, rejects: Path) -> Stopping:
    return Stopping(engine, bucket, settings, rejects)


class TestAnIngestThatStopped:
    def test_resumes_where_it_stopped(  # noqa: PLR0917 - fixtures
        self,
        run: Run,
        stopping: Stopping,
        written: Callable[[str], Path],
        stored: Callable[[], list[Job]],
        rejected: Callable[[], list[list[str]]],
        engine: Engine,
    ) -> None:
        """At any chunk: every row is stored once, the counts are those of one run, and all rejects are
        reported.
        """
        path = written(rows_of(60))
        for chunks in (0, 1, 1):
            stopping(path, chunks)
        done = run(path)
        assert [job.external_id for job in stored()] == GOOD
        assert len({job.batch_id for job in stored()}) == 1
        assert done.counts.jobs == len(GOOD)
        assert done.counts.rejects == len(rejected()) == 9
        assert done.counts.duplicates == 4
        assert done.counts.records == done.counts.pictures == 65
        with Session(engine) as session:
            row = session.scalars(select(Row)).one()
        assert (row.records, row.jobs) == (done.counts.records, done.counts.jobs)

    def test_reports_what_is_stored(self, stopping: Stopping, written: Callable[[str], Path]) -> None:
        """The callback gets the counts of what is stored."""
        path = written(rows_of(40))
        stopping(path, 2)
        stopping(path, 9)
        (found,) = stopping.resumed
        assert found.records in (20, 30)

    def test_is_another_one_once_the_file_changed(
        self, stopping: Stopping, written: Callable[[str], Path]
    ) -> None:
        """A fixed file, or other options, start a new ingest."""
        path = written(rows_of(40))
        first = stopping(path, 2)
        assert stopping(path, 2, weight=2.0) != first
        path.write_text(rows_of(41))
        assert stopping(path, 9) != first

    def test_makes_a_new_batch_once_it_has_ended(self, run: Run, written: Callable[[str], Path]) -> None:
        """A manifest that is ingested again next week is another batch."""
        path = written(rows_of(12))
        assert run(path).batch_id != run(path).batch_id

    def test_is_not_resumed_by_two(
        self, run: Run, written: Callable[[str], Path], engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While one process ingests a source, another one ends with an error."""
        monkeypatch.setattr("cutout.ingest.checkpoint.WAIT_FOR_LOCK_S", 0.3)
        path = written(rows_of(12))
        with engine.connect() as other:

            @event.listens_for(engine, "before_cursor_execute", retval=True)
            def take_first(
                _c: Any, _cur: Any, statement: str, parameters: Any, _ctx: Any, _many: object
            ) -> tuple[str, Any]:
                if "pg_try_advisory_lock" in statement:
                    raw = other.connection.driver_connection
                    assert raw is not None
                    raw.execute("SELECT pg_advisory_lock(%s)", (parameters["key"],))
                return statement, parameters

            with pytest.raises(IngestError, match="another process is ingesting this source"):
                run(path)

    def test_because_postgres_was_unreachable_resumes(
        self, run: Run, written: Callable[[str], Path], engine: Engine, stored: Callable[[], list[Job]]
    ) -> None:
        """A broken connection raises one error, and the same command stores the rest."""
        path = written(rows_of(60))
        seen = []

        @event.listens_for(engine, "commit")
        def end_all(_: object) -> None:
            seen.append(1)
            if len(seen) == 6:
                with engine.connect() as other:
                    raw = other.connection.driver_connection
                    assert raw is not None
                    raw.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )

        with pytest.raises(DBAPIError):
            run(path)
        event.remove(engine, "commit", end_all)
        engine.dispose()
        run(path)
        assert [job.external_id for job in stored()] == GOOD


class TestAPlan:
    def test_that_is_approved_while_its_rows_are_read_releases_all_of_them(
        self, run: Run, stopping: Stopping, written: Callable[[str], Path], engine: Engine
    ) -> None:
        """Jobs stored after the approval become ready too: the dispatcher is notified again."""
        path = written(rows_of(60))
        batch_id = stopping(path, 1, plan=True)
        assert batch_id is not None
        with engine.begin() as connection:
            assert approval.approve(connection, batch_id)
            assert unblock(connection) > 0
        assert run(path, plan=True).batch_id == batch_id
        with engine.begin() as connection:
            assert unblock(connection) > 0
            ready = connection.execute(text("SELECT count(*) FROM jobs WHERE queue_state = 'ready'"))
            assert ready.scalar_one() == len(GOOD)


class TestTheQueueOrder:
    def test_is_kept_by_this_path_too(self, run: Run, written: Callable[[str], Path], engine: Engine) -> None:
        """A batch that was enqueued and one that was ingested take turns in queue order, by their weights."""
        with Session(engine) as session, session.begin():
            other = create_batch(session, "other").id
            enqueue_all(session, [NewJob(WEB, str(n)) for n in range(30)], batch_id=other)
        ours = run(written("external_id,source\n" + "".join(f"{n},{WEB}\n" for n in range(60))), weight=2.0)
        with Session(engine) as session, session.begin():
            ids = [job_id for job_id, _ in dispatch_calls(session, 30, lease=LEASE)]
            jobs = [session.get_one(Job, job_id) for job_id in ids]
            mine = [int(job.external_id or "") for job in jobs if job.batch_id == ours.batch_id]
        assert mine == list(range(len(mine)))
        assert 19 <= len(mine) <= 21


class TestRowsThatAreAllBad:
    def test_make_no_batch(self, run: Run, written: Callable[[str], Path], engine: Engine) -> None:
        """Whatever their number: no batch is left, and each row is counted."""
        done = run(written("external_id,source\n" + "x,\n" * 35))
        assert (done.batch_id, done.counts) == (None, Counts(35, 35, 0, 35, 0))
        with Session(engine) as session:
            assert session.scalar(select(func.count()).select_from(Row)) == 0

    def test_before_the_first_good_one_are_counted_with_it(
        self, run: Run, written: Callable[[str], Path], engine: Engine
    ) -> None:
        """A batch created late counts all rows."""
        run(written("external_id,source\n" + "x,\n" * 35 + f"a,{WEB}\n"))
        with engine.connect() as connection:
            counted = connection.execute(text("SELECT records, pictures, jobs, rejects FROM ingests")).one()
        assert tuple(counted) == (36, 36, 1, 35)
