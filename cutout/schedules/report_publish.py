"""Reports in the bucket: one for each run that has ended."""

import json
import uuid
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from cutout.enums import RunState
from cutout.models import JOBS, RUNS, Run, Schedule
from cutout.models.database import Database
from cutout.results import Format, Selection, open_results, write_results
from cutout.results.formats import MEDIA_TYPES
from cutout.schedules.report import Report, gather
from cutout.schedules.report_page import page
from cutout.storage import Bucket
from cutout.webhooks import announce

MOST_RUNS = 20
TO_REPORT = select(RUNS.c.id).where(
    RUNS.c.finished_at.is_not(None), RUNS.c.report_key.is_(None), RUNS.c.state != RunState.SKIPPED
)
DELETED = select(func.count(JOBS.c.deleted_at)).join_from(RUNS, JOBS, JOBS.c.batch_id == RUNS.c.batch_id)


def runs_to_report(database: Database, but: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """Runs that ended and are not reported yet, some at a time."""
    return list(database.scalars(TO_REPORT.where(RUNS.c.id.not_in(but)).limit(MOST_RUNS)))


def keep_report(engine: Engine, bucket: Bucket, run_id: uuid.UUID) -> bool:
    """Write a run's report and its results into the bucket, and send it; False if another has done so, or a
    job of it was deleted meanwhile: then it is to be written again.

    Two who do it at once write the same. Raises StorageError.
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
    """Where a run's report lies."""
    return f"reports/{run_id}"


def write_report(engine: Engine, bucket: Bucket, run_id: uuid.UUID) -> Report:
    """Write a run's report and its results as they are now into the bucket. Raises StorageError."""
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
    if schedule.webhook_url is not None:
        announce(
            session,
            url=schedule.webhook_url,
            kind="schedule.report",
            data=report.as_json(),
            producer_id=schedule.producer_id,
        )


def _keep_results(engine: Engine, bucket: Bucket, batch_id: uuid.UUID, folder: str) -> str:
    """As they are now: a job that goes on later, or is retried, is in the batch's own results."""
    key = f"{folder}/results.csv"
    with open_results(engine, Selection(batch_id)) as results:
        bucket.put_pieces(write_results(results, Format.CSV), key=key, media_type=MEDIA_TYPES[Format.CSV])
    return key
