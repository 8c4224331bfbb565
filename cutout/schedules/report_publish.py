"""Publication of reports: one in the bucket for each ended run, rewritten when a job is deleted."""

import json
import uuid
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Engine, func, or_, select, update
from sqlalchemy.orm import Session

from cutout.enums import RunState
from cutout.models import BATCHES, JOBS, RUNS, Run, Schedule
from cutout.models.database import Database
from cutout.results import Format, Selection, keep_results, open_results, write_results
from cutout.results.formats import MEDIA_TYPES
from cutout.schedules.report import Report, gather
from cutout.schedules.report_page import page
from cutout.storage import Bucket
from cutout.webhooks import EventType, announce_event

MOST_RUNS = 20
TO_REPORT = select(RUNS.c.id).where(
    RUNS.c.finished_at.is_not(None), RUNS.c.report_key.is_(None), RUNS.c.state != RunState.SKIPPED
)
DELETED = select(func.count(JOBS.c.deleted_at)).join_from(RUNS, JOBS, JOBS.c.batch_id == RUNS.c.batch_id)

# A run ends before its batch if a job of it is held: its report may contain a job that was deleted while
# there were no results yet to be rewritten.
DELETED_SINCE = (
    select(JOBS.c.id)
    .where(JOBS.c.batch_id == RUNS.c.batch_id, JOBS.c.deleted_at >= RUNS.c.finished_at)
    .correlate(RUNS)
    .exists()
)
TO_REWRITE = (
    select(RUNS.c.id)
    .join(BATCHES, BATCHES.c.id == RUNS.c.batch_id)
    .where(RUNS.c.report_key.is_not(None), or_(BATCHES.c.results_unwritten_at.is_not(None), DELETED_SINCE))
)


def runs_to_report(database: Database, but: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """Ended runs without a report, MOST_RUNS at most, except those in `but`."""
    return list(database.scalars(TO_REPORT.where(RUNS.c.id.not_in(but)).limit(MOST_RUNS)))


def keep_report(engine: Engine, bucket: Bucket, run_id: uuid.UUID) -> bool:
    """Write a run's report and results into the bucket, and announce it. Raises StorageError.

    False if another process has done so, or if a job was deleted meanwhile and it must be written again. Two
    processes at once write the same content.
    """
    deleted = DELETED.where(RUNS.c.id == run_id)
    with engine.connect() as connection:
        before = connection.scalar(deleted)
    report = write_report(engine, bucket, run_id)
    with Session(engine) as session, session.begin():
        if session.scalar(deleted) != before:
            return False
        kept = session.scalar(
            update(Run)
            .where(Run.id == run_id, Run.report_key.is_(None))
            .values(report_key=f"{folder_of(run_id)}/report.json")
            .returning(Run.schedule_id)
        )
        if kept is not None:
            _announce(session, kept, report)
        return kept is not None


def folder_of(run_id: uuid.UUID) -> str:
    """The folder of a run's report in the bucket."""
    return f"reports/{run_id}"


def write_report(engine: Engine, bucket: Bucket, run_id: uuid.UUID) -> Report:
    """Write a run's report and its present results into the bucket. Raises StorageError."""
    with Session(engine) as session:
        report = gather(session, run_id)
    folder = folder_of(run_id)
    if report.batch_id is not None:
        report = replace(report, results_key=_keep_results(engine, bucket, report.batch_id, folder))
    written = json.dumps(report.as_json(), indent=2)
    for name, text, media_type in (
        ("report.html", page(report), "text/html"),
        ("report.json", written, "application/json"),
    ):
        bucket.put_pieces([text.encode()], key=f"{folder}/{name}", media_type=media_type)
    return report


def _announce(session: Session, schedule_id: uuid.UUID, report: Report) -> None:
    schedule = session.get_one(Schedule, schedule_id)
    announce_event(
        session,
        EventType.SCHEDULE_REPORT,
        report.as_json() | {"metadata": schedule.metadata_ or {}},
        url=schedule.webhook_url,
        producer_id=schedule.producer_id,
    )


def _keep_results(engine: Engine, bucket: Bucket, batch_id: uuid.UUID, folder: str) -> str:
    """Write the present results; jobs that end or are retried later are in the batch's own results."""
    key = f"{folder}/results.csv"
    with open_results(engine, Selection(batch_id)) as results:
        written = write_results(results, Format.CSV, renditions=results.renditions)
        bucket.put_pieces(written, key=key, media_type=MEDIA_TYPES[Format.CSV])
    return key


def keep_results_and_reports(engine: Engine, bucket: Bucket, batch_id: uuid.UUID) -> bool:
    """Rewrite the reports of a batch from which a job was deleted, then write the batch's results.

    The batch's row asks for it until its results are written. Raises StorageError.
    """
    with engine.connect() as connection:
        runs = connection.scalars(TO_REWRITE.where(BATCHES.c.id == batch_id)).all()
    for run_id in runs:
        write_report(engine, bucket, run_id)
    return keep_results(engine, bucket, batch_id)
