"""The report of a run."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.administration.delete import IN_REPORT, Deletion, delete_job, find_deletable
from cutout.enums import RunState, State
from cutout.models import Batch, Run, Schedule
from cutout.queue.attempts.outcomes import Fail, Outcome
from cutout.queue.enqueue import NewJob, enqueue
from cutout.schedules import gather, keep_report, runs_to_report
from cutout.schedules.fire import fire
from cutout.schedules.report import Report, Trouble
from cutout.schedules.report_page import page
from cutout.schedules.report_publish import keep_results_and_reports
from cutout.storage import Bucket
from tests.cutout.schedules.steps import finish_ingest, new_schedule, pass_by, runs, see_through
from tests.support.fates import DONE
from tests.support.steps import SOURCE, claim_one, new_worker

BROKEN = Fail("IMAGE_DAMAGED", "<b>it</b> cannot be read")
FATES: dict[str, Outcome] = {"a": DONE, "b": BROKEN, "c": BROKEN}


@pytest.fixture
def run_id(engine: Engine) -> uuid.UUID:
    """A run that ended: one job succeeded, two failed."""
    with Session(engine) as session, session.begin():
        schedule = new_schedule(session, "<nightly>")
        pass_by(session, schedule)
        fire(session)
        see_through(session)
        run = runs(session, schedule)[-1]
        worker_id = new_worker(session)
        batch = session.get_one(Batch, run.batch_id)
        for name, outcome in FATES.items():
            enqueue(session, NewJob(SOURCE, name), batch_id=batch.id)
            queue.settle(session, claim_one(session, worker_id), outcome)
        finish_ingest(session, run.batch_id, {"rejects": 1, "pictures": 1})
        session.execute(
            text("""
                UPDATE ingests SET changes = '{"new": 3, "vanished": 2}', remarks = '["<look>"]',
                    skipped = '[{"reason": "HEIC", "count": 7, "names": ["<a>.heic"]}]'
            """)
        )
        see_through(session)
        see_through(session)
        run = runs(session, schedule)[-1]
        assert run.state == "partial"
        return run.id


def test_tells_what_a_run_came_to(engine: Engine, run_id: uuid.UUID) -> None:
    """The report has the state, the pictures, the jobs, and failures by code."""
    with Session(engine) as session:
        report = gather(session, run_id)
    assert (report.schedule, report.state) == ("<nightly>", RunState.PARTIAL)
    assert (report.counts["new"], report.counts["vanished"], report.counts["rejected"]) == (3, 2, 1)
    assert report.counts["skipped"] == 7
    assert report.skipped == [{"reason": "HEIC", "count": 7, "names": ["<a>.heic"]}]
    assert report.as_json()["skipped"] == report.skipped
    assert "<td>7</td><td>HEIC</td><td>&lt;a&gt;.heic</td>" in page(report)
    assert "<p>&lt;look&gt;</p>" in page(report)
    assert report.troubles == [Trouble(State.FAILED, "IMAGE_DAMAGED", 2, "<b>it</b> cannot be read")]
    assert report.seconds is not None


def test_is_kept_once(engine: Engine, bucket: Bucket, run_id: uuid.UUID) -> None:
    """The bucket has the report as JSON and as a page, with the results beside it."""
    with engine.connect() as connection:
        assert runs_to_report(connection, ()) == [run_id]
        assert runs_to_report(connection, [run_id]) == []
    assert keep_report(engine, bucket, run_id)
    assert not keep_report(engine, bucket, run_id)
    with engine.connect() as connection:
        assert runs_to_report(connection, ()) == []
    folder = f"reports/{run_id}"
    assert bucket.keys(folder) == [
        f"{folder}/{name}" for name in ("report.html", "report.json", "results.csv")
    ]
    kept = json.loads(bucket.read(f"{folder}/report.json", max_bytes=100_000))
    assert kept["state"] == "partial"
    assert kept["troubles"][0]["jobs"] == 2
    assert kept["results_key"] == f"{folder}/results.csv"
    assert bucket.read(kept["results_key"], max_bytes=10_000).count(b"\n") == 4


def test_is_sent_where_the_schedule_says(engine: Engine, bucket: Bucket, run_id: uuid.UUID) -> None:
    """The report is announced once, in the transaction that records its key."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE schedules SET webhook_url = 'https://shop.example/hook'"))
    keep_report(engine, bucket, run_id)
    keep_report(engine, bucket, run_id)
    with engine.connect() as connection:
        sent = connection.execute(text("SELECT type, payload FROM deliveries")).one()
    assert sent.type == "schedule.report"
    assert json.loads(sent.payload)["data"]["state"] == "partial"


def delete(engine: Engine, name: str) -> list[str | None]:
    """Delete a job by its external id; returns the reasons for the parts that are kept."""
    with Session(engine) as session, session.begin():
        job_id = session.scalars(text("SELECT id FROM jobs WHERE external_id = :name"), {"name": name}).one()
        doomed, told = find_deletable(session, job_id, None), Deletion()
        assert doomed
        assert delete_job(session, doomed, told)
    return [part.why for part in told.kept]


def test_of_a_run_whose_batch_continues_is_rewritten_at_its_end(
    engine: Engine, bucket: Bucket, run_id: uuid.UUID
) -> None:
    """While a job is held there are no results, but the report exists."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET state = 'held', finished_at = NULL WHERE external_id = 'b'"))
        batch_id = connection.scalar(text("SELECT batch_id FROM runs WHERE id = :id"), {"id": run_id})
    assert keep_report(engine, bucket, run_id)
    assert IN_REPORT in delete(engine, "a")
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET state = 'failed', finished_at = now() WHERE state = 'held'"))
    assert keep_results_and_reports(engine, bucket, batch_id)
    rows = bucket.read(f"reports/{run_id}/results.csv", max_bytes=10_000)
    assert rows.count(b"\n") == 3
    assert b"\na," not in rows


def test_is_not_kept_with_a_job_that_was_deleted_meanwhile(
    engine: Engine, bucket: Bucket, run_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is deleted after the results are written and before the report's key is recorded."""
    put = bucket.put_pieces

    def put_and_delete(*pieces: Any, **named: Any) -> None:
        put(*pieces, **named)
        if named["key"].endswith("report.html"):
            delete(engine, "a")
            monkeypatch.undo()

    monkeypatch.setattr(bucket, "put_pieces", put_and_delete)
    assert not keep_report(engine, bucket, run_id)
    assert keep_report(engine, bucket, run_id)
    assert b"\na," not in bucket.read(f"reports/{run_id}/results.csv", max_bytes=10_000)


def test_of_a_run_that_has_not_ended_there_is_none(engine: Engine, run_id: uuid.UUID) -> None:
    """The report of an unfinished run would soon be wrong."""
    with Session(engine) as session, session.begin():
        session.execute(
            text("UPDATE runs SET state = 'working', finished_at = NULL WHERE id = :id"), {"id": run_id}
        )
        with pytest.raises(ValueError, match="has not ended"):
            gather(session, run_id)


def test_a_page_escapes_what_comes_from_outside(engine: Engine, run_id: uuid.UUID) -> None:
    """Names and messages are text, never markup."""
    with Session(engine) as session:
        written = page(gather(session, run_id))
    assert "<b>it" not in written
    assert "&lt;b&gt;it&lt;/b&gt; cannot be read" in written
    assert "&lt;nightly&gt;" in written
    assert "<script" not in written


def test_a_page_of_a_run_that_never_began() -> None:
    """The page has the reason, and no figures that do not exist."""
    now = datetime.now(UTC)
    report = Report(uuid.uuid4(), "n", "s3://b/", RunState.FAILED, "the source shrank", now, None, now, None)
    written = page(report)
    assert "the source shrank" in written
    assert "Slowest" not in written


def test_the_models_are_what_is_asked_for() -> None:
    """A run has a column for the key of its report."""
    assert {"report_key", "schedule_id"} <= set(Run.__table__.columns.keys())
    assert "webhook_url" in Schedule.__table__.columns
