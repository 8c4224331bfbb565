"""Deletion of a batch whose jobs have all ended: an action, carried out in portions.

In this order: the jobs, the messages about them, the files of the batch, its row. Each step may be repeated:
what names an object is removed after the object. The row stays without any value that a producer gave: jobs,
the ledger and runs of schedules refer to it.
"""

import time
import uuid

from sqlalchemy import (
    ARRAY,
    Connection,
    Engine,
    Uuid,
    and_,
    any_,
    delete,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.orm import Session

from cutout.administration.delete import (
    BEING_REUSED,
    Deletion,
    delete_objects,
    empty_rows,
    find_deletable,
)
from cutout.administration.output_removal import forget_outputs, output_objects
from cutout.administration.source_removal import IN_UPLOAD, TO_BE_RENDERED
from cutout.enums import FINAL_STATES, ActionKind, RunState, Subject
from cutout.ingest.change_detection import keep_outcomes
from cutout.models import ACTIONS, BATCHES, INGESTS, JOBS, RUNS
from cutout.producers.action_record import About
from cutout.producers.actors import Asked
from cutout.queue.batch_actions.carry_out import HeldAction, Portion, carry_on, hold, record
from cutout.queue.batch_actions.job_pages import FIRST, read_page
from cutout.queue.batch_actions.locks import lock_actions
from cutout.queue.batch_actions.request import add_action, has_more
from cutout.queue.batch_actions.unfinished import unfinished_kinds
from cutout.results.publish import results_key
from cutout.schedules.report_publish import write_report
from cutout.storage import Bucket
from cutout.webhooks.deleted_jobs import first_id_of, forget_batch

OBJECTS = "objects"
# With their objects jobs are deleted one by one, for this long in one turn; without, so many at once.
TURN_S = 0.5
JOBS_A_PAGE = 200
ROWS_A_PORTION = 2000

STAGE, AFTER = "stage", "after"
JOBS_STAGE, MESSAGES_STAGE, FILES_STAGE = "jobs", "messages", "files"

# Objects that another request needs at this moment, and that could not be found again without their job.
IN_USE_NOW = frozenset({BEING_REUSED, IN_UPLOAD, TO_BE_RENDERED})
WAITS_S = 10.0
NOT_ENDED = "JOBS_UNFINISHED"


class NotDeletableError(Exception):
    """The batch cannot be deleted now; the text says why, and what to do first."""


class ObjectInUseError(Exception):
    """An object of a job is in use at this moment; the deletion continues when it is not."""


def request_deletion(
    session: Session, batch_id: uuid.UUID, *, objects: bool, asked: Asked | None = None
) -> uuid.UUID | None:
    """Let the batch and its jobs be deleted, with their objects in the bucket if `objects`.

    It takes no job from now on. None if it is being deleted already. Raises NotDeletableError.
    """
    lock_actions(session, batch_id)
    # Whoever enqueues into the batch, or retries a job of it, changes this row.
    batch = session.execute(
        select(BATCHES.c.producer_id).where(BATCHES.c.id == batch_id).with_for_update()
    ).one()
    present = unfinished_kinds(session, batch_id)
    if present == [ActionKind.DELETE]:
        return None
    if present:
        raise NotDeletableError(
            f"the batch {batch_id} has an action that is not finished ({present[0]}); delete it once that is"
        )
    if has_more(session, batch_id):
        raise NotDeletableError(
            f"the batch {batch_id} has jobs that have not ended, or is still being read; cancel it first,"
            " then delete it once its state is cancelled"
        )
    if session.scalar(select(RUNS.c.id).where(RUNS.c.batch_id == batch_id, _IS_NOT_REPORTED).limit(1)):
        raise NotDeletableError(
            f"the batch {batch_id} is that of a run that is not reported yet; delete it once the run has its"
            " report"
        )
    session.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(delete_requested_at=func.now()))
    about = About(Subject.BATCH, batch_id, batch.producer_id, batch_id)
    return add_action(session, about, ActionKind.DELETE, {OBJECTS: objects}, asked=asked)


_IS_NOT_REPORTED = and_(RUNS.c.report_key.is_(None), RUNS.c.state != RunState.SKIPPED)


def delete_portion(engine: Engine, bucket: Bucket, action_id: uuid.UUID) -> None:
    """Carry out one portion of a deletion. Raises StorageError, ObjectInUseError."""
    with engine.begin() as connection:
        action = hold(connection, action_id)
    if action is None:
        return
    match _stage(action):
        case "jobs" if action.options.get(OBJECTS):
            _delete_jobs(engine, bucket, action)
        case "jobs":
            carry_on(engine, action_id, _empty_jobs)
        case "messages":
            carry_on(engine, action_id, _forget_messages)
        case _:
            _delete_files(engine, bucket, action.batch_id)
            carry_on(engine, action_id, _empty_batch)


def _stage(action: HeldAction) -> str:
    return (action.position or {}).get(STAGE, JOBS_STAGE)


def _after(action: HeldAction, first: uuid.UUID = FIRST) -> uuid.UUID:
    given = (action.position or {}).get(AFTER)
    return uuid.UUID(given) if given else first


def _delete_jobs(engine: Engine, bucket: Bucket, action: HeldAction) -> None:
    """Delete the next jobs with their objects, each by itself: the last job that has an object removes it."""
    ends_at = time.monotonic() + TURN_S
    with engine.connect() as connection:
        page = read_page(connection, action.batch_id, _after(action), JOBS_A_PAGE)
    for job_id in page.ids:
        if not _delete_job(engine, bucket, action, job_id) or time.monotonic() > ends_at:
            return
    if page.next_after is None:
        carry_on(engine, action.id, _end_jobs)


def _delete_job(engine: Engine, bucket: Bucket, action: HeldAction, job_id: uuid.UUID) -> bool:
    """False if it must be begun again, or if another process continues the action."""
    with Session(engine) as session:
        job = find_deletable(session, job_id, action.producer_id)
    if job is None:
        return True
    done = Deletion()
    delete_objects(engine, bucket, job, done)
    if in_use := next((part for part in done.kept if part.why in IN_USE_NOW), None):
        raise ObjectInUseError(f"the object {in_use.key} cannot be deleted yet: {in_use.why}")
    known = {part.key for part in (*done.removed, *done.kept)} | {job.key}
    with engine.begin() as connection:
        if hold(connection, action.id) is None:
            return False
        with Session(connection) as session:
            # A renderer made it since the objects were deleted.
            if any(each.key not in known for each in output_objects(session, job_id)):
                return False
            emptied = _empty(session, action.batch_id, [job_id])
        record(connection, action.id, Portion(len(emptied), {STAGE: JOBS_STAGE, AFTER: str(job_id)}))
    return True


def _empty_jobs(connection: Connection, action: HeldAction) -> Portion:
    """Empty the rows of the next jobs, whose objects stay in the bucket."""
    page = read_page(connection, action.batch_id, _after(action), ROWS_A_PORTION)
    with Session(connection) as session:
        emptied = len(_empty(session, action.batch_id, page.ids)) if page.ids else 0
    if page.next_after is None:
        ended = _end_jobs(connection, action)
        return Portion(emptied, ended.position, ended.code, ended.message)
    return Portion(emptied, {STAGE: JOBS_STAGE, AFTER: str(page.next_after)})


def _empty(session: Session, batch_id: uuid.UUID, job_ids: list[uuid.UUID]) -> list[uuid.UUID]:
    keep_outcomes(session, batch_id, job_ids)
    emptied = empty_rows(
        session,
        and_(
            JOBS.c.id == any_(literal(job_ids, ARRAY(Uuid))),
            JOBS.c.deleted_at.is_(None),
            JOBS.c.state.in_(sorted(FINAL_STATES)),
        ),
    )
    if emptied:
        forget_outputs(session, emptied)
    return emptied


def _end_jobs(connection: Connection, action: HeldAction) -> Portion:
    """Go on to the messages, or end the deletion if a job was queued again at the moment of the request."""
    left = select(JOBS.c.id).where(JOBS.c.batch_id == action.batch_id, JOBS.c.producer_id.is_not(None))
    if connection.scalar(left.limit(1)) is None:
        return Portion(0, {STAGE: MESSAGES_STAGE})
    connection.execute(
        update(BATCHES).where(BATCHES.c.id == action.batch_id).values(delete_requested_at=null())
    )
    message = (
        "a job of the batch was queued again at the moment of the request: cancel it, then delete the batch"
    )
    return Portion(0, None, NOT_ENDED, message)


def _forget_messages(connection: Connection, action: HeldAction) -> Portion:
    created_at = connection.scalar(select(BATCHES.c.created_at).where(BATCHES.c.id == action.batch_id))
    after = _after(action, first_id_of(created_at) if created_at else FIRST)
    next_after = forget_batch(connection, action.batch_id, producer_id=action.producer_id, after=after)
    if next_after is None:
        return Portion(0, {STAGE: FILES_STAGE})
    return Portion(0, {STAGE: MESSAGES_STAGE, AFTER: str(next_after)})


def _delete_files(engine: Engine, bucket: Bucket, batch_id: uuid.UUID) -> None:
    """Delete manifest, rejects and results; write the reports of its runs again, without its jobs."""
    with engine.connect() as connection:
        ingest = connection.execute(
            select(INGESTS.c.manifest_key, INGESTS.c.rejects_key).where(INGESTS.c.batch_id == batch_id)
        ).first()
        runs = connection.scalars(
            select(RUNS.c.id).where(RUNS.c.batch_id == batch_id, RUNS.c.report_key.is_not(None))
        ).all()
    for key in (*(ingest or ()), results_key(batch_id)):
        if key is not None:
            bucket.delete(key)
    with engine.begin() as connection:
        connection.execute(delete(INGESTS).where(INGESTS.c.batch_id == batch_id))
    for run_id in runs:
        write_report(engine, bucket, run_id)


def _empty_batch(connection: Connection, action: HeldAction) -> Portion:
    connection.execute(update(ACTIONS).where(ACTIONS.c.batch_id == action.batch_id).values(options={}))
    connection.execute(
        update(BATCHES)
        .where(BATCHES.c.id == action.batch_id)
        .values(
            name="",
            producer_id=null(),
            webhook_url=null(),
            renditions=null(),
            metadata=null(),
            jobs_moved_at=null(),
            options=null(),
            # In one statement with the key: that no output is pending is announced of a batch with results.
            results_key=null(),
            tally=null(),
            credits=null(),
            outputs_pending=False,
            results_unwritten_at=null(),
            # As of a batch that never had a job: no results are to come.
            last_virtual_start=0,
            deleted_at=func.now(),
        )
    )
    return Portion(0, None)
