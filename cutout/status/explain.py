"""Explanation of a job: why it is not done yet, or how it ended, with a remedy where there is one."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout.audit import findings_of
from cutout.enums import FINAL_STATES, ActionKind, AttemptOutcome, QueueState, State, Step
from cutout.models import Action, Attempt, Batch, Job, Result, Worker
from cutout.queue.batch_actions.portions import CODES
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.reuse import missing_results
from cutout.status.call_rate import CallSettings
from cutout.status.explanation import (
    Explanation,
    database_now,
    duration_text,
    explanation,
    time_text,
)
from cutout.status.queue_position import dispatched, ready_for_call, waiting_for_same_picture
from cutout.status.stoppages import batch_stoppages, process_stoppages, stoppages
from cutout.storage.unexpected_bytes import CODE, Unexpected

MISSING_REMEDY = (
    "find out what emptied the bucket and restore the objects, or let `cutout forget-missing` buy them again"
)

BATCH_DELETING = "batch-deleting"


def explain(session: Session, job: Job, settings: CallSettings) -> Explanation:
    """Why the job is in its state, with the auditor's findings about it and its batch."""
    found = explain_state(session, job, settings)
    if job.state in FINAL_STATES:
        return found
    for _, finding in findings_of(session, job.id, job.batch_id):
        text = f"{found.text}. The auditor finds of its {finding.subject} {finding.id}: {finding.text}"
        found = replace(found, text=text, remedy=finding.remedy)
    return found


def explain_state(session: Session, job: Job, settings: CallSettings) -> Explanation:
    """Why the job is in its state, without the auditor's findings. Stoppages come before its position."""
    match job.state:
        case State.SUCCEEDED:
            return _succeeded(session, job)
        case State.CANCELLED:
            return explanation(job, "cancelled", "it was cancelled")
        case State.FAILED:
            if ending := _retry_waits(session, job) or _is_deleted_with_batch(session, job):
                return ending
            remedy = f"fix the cause, then `cutout retry {job.id}`"
            return explanation(job, job.code or "", f"{job.code}: {job.message}", remedy)
        case State.HELD:
            return _retry_waits(session, job) or _held(session, job)
        case State.RUNNING:
            return _running(session, job)
        case _:
            return _queued(session, job, settings)


def _retry_waits(session: Session, job: Job) -> Explanation | None:
    """The retry of its batch that is under way and will come to the job."""
    if job.batch_id is None or job.code == NEEDS_APPROVAL:
        return None
    retry = session.scalar(
        select(Action).where(
            Action.batch_id == job.batch_id, Action.kind == ActionKind.RETRY, Action.finished_at.is_(None)
        )
    )
    if retry is None or job.code not in retry.options.get(CODES, [job.code]):
        return None
    if retry.started_at and job.released_at and job.released_at >= retry.started_at:
        return None
    text = f"{job.code}: {job.message}; its batch is being retried since {time_text(retry.requested_at)}"
    return explanation(job, "batch-retrying", text)


def _is_deleted_with_batch(session: Session, job: Job) -> Explanation | None:
    """The deletion of its batch, from its request on; the remedy if it was given up."""
    requested = Action.batch_id == job.batch_id, Action.kind == ActionKind.DELETE
    batch = session.get(Batch, job.batch_id) if job.batch_id else None
    if batch is None or batch.delete_requested_at is None:
        return None
    text = (
        f"{job.code}: {job.message}; its batch is being deleted since {time_text(batch.delete_requested_at)}"
    )
    last = session.scalar(select(Action).where(*requested).order_by(Action.id.desc()).limit(1))
    if last is None or last.finished_at is None:
        return explanation(job, BATCH_DELETING, text)
    return explanation(
        job,
        BATCH_DELETING,
        f"{text}, which was given up: {last.message}",
        "its producer deletes the batch again",
    )


def _succeeded(session: Session, job: Job) -> Explanation:
    """The cutout's key, and the endpoint's message, which says which of several pictures it shows."""
    message = session.scalar(
        select(Attempt.message)
        .where(
            Attempt.job_id.in_([job.id, *_buyers(session, job)]),
            Attempt.outcome == AttemptOutcome.CHARGED,
            Attempt.message.is_not(None),
        )
        .order_by(Attempt.id.desc())
        .limit(1)
    )
    warning = f", with a warning: {job.warning}" if job.warning else ""
    text = f"what was bought is stored as {job.key}{warning}{f'; {message}' if message else ''}"
    return explanation(job, "done", text)


def _buyers(session: Session, job: Job) -> Sequence[uuid.UUID]:
    """The jobs that bought the cutout of a job that reused it."""
    if not job.reused:
        return ()
    return session.scalars(
        select(Result.buyer).where(
            Result.source_sha256 == job.source_sha256,
            Result.bought_form == job.bought_form,
            Result.key == job.key,
        )
    ).all()


def _held(session: Session, job: Job) -> Explanation:
    if job.queue_state == QueueState.BLOCKED:
        return _held_by_batch(session, job, session.get_one(Batch, job.batch_id))
    calls = session.scalar(select(func.count()).where(Attempt.job_id == job.id))
    text = f"{job.code}: {job.message} ({calls} call{'' if calls == 1 else 's'} so far)"
    return explanation(job, job.code or "", text, _remedy_of_held(session, job))


def _remedy_of_held(session: Session, job: Job) -> str:
    """The commands that release a held job, with the effect of a retry."""
    found = Unexpected.of(job.unexpected)
    remedies = []
    if job.code == CODE and found is not None and found.is_picture:
        remedies.append(f"`cutout accept {job.id}` takes the received picture as its cutout")
    if _has_raw_answer(session, job):
        remedies.append(f"`cutout explain {job.id} --answer` shows the endpoint's answer, which is a secret")
    remedies.append(_effect_of_retry(session, job))
    return f"{'; '.join(remedies)}; or `cutout cancel` it"


def _effect_of_retry(session: Session, job: Job) -> str:
    """The effect of a retry: it fetches a result by its URL first, and calls again only without one."""
    retry = f"`cutout retry {job.id}`"
    if job.result_url is None:
        return f"release it with {retry}, for another call"
    if job.lifeboat_key is not None:
        return f"{retry} continues with the copy from the lifeboat, without a call"
    if job.result_expires_at is not None and job.result_expires_at > database_now(session):
        until = time_text(job.result_expires_at)
        if job.code == "RESULT_EXPIRED":
            return f"{retry} requests its URL once more (until {until}), then calls again for another credit"
        return f"{retry} fetches its result again (until {until}), without a call"
    return f"{retry} calls again, for another credit: the paid result has expired"


def _has_raw_answer(session: Session, job: Job) -> bool:
    kept = select(Attempt.id).where(Attempt.job_id == job.id, Attempt.raw_answer.is_not(None)).exists()
    return bool(session.scalar(select(kept)))


def _held_by_batch(session: Session, job: Job, batch: Batch) -> Explanation:
    """The batch's present reason to hold the job; the dispatcher tests the same conditions each time."""
    code = job.code or ""
    if job.code != NEEDS_APPROVAL and batch.budget is not None and batch.spent >= batch.budget:
        text = f"its batch has spent {batch.spent:,} of its budget of {batch.budget:,} credits"
        return explanation(job, code, text, f"raise it with `cutout budget {batch.id} CREDITS`")
    stopped = next(batch_stoppages(session, job, batch), None) or next(process_stoppages(session, job), None)
    if stopped:
        return stopped
    if job.code == NEEDS_APPROVAL:
        return explanation(job, code, "its batch was approved; the dispatcher makes its jobs ready")
    left = "credits left" if batch.budget is None else f"{batch.budget - batch.spent:,} credits left"
    text = (
        f"its batch has {left}, which jobs under way may take; the dispatcher makes it ready if they do not"
    )
    return explanation(job, code, text, f"raise it with `cutout budget {batch.id} CREDITS` to start more now")


def _running(session: Session, job: Job) -> Explanation:
    worker = session.get(Worker, job.worker_id)
    name = f"worker {worker.pid} on {worker.host}" if worker else "a worker"
    cancelled = _cancellation(session, job)
    if job.step == Step.COPY:
        return explanation(job, "copying", f"{name} copies its paid result into the bucket{cancelled}")
    begun_at = session.scalar(
        select(func.max(Attempt.begun_at)).where(Attempt.job_id == job.id, Attempt.ended_at.is_(None))
    )
    if begun_at is None:
        text = f"{name} prepares its picture or waits for a slot of the limit{cancelled}"
        return explanation(job, "preparing", text)
    ago = duration_text(database_now(session) - begun_at)
    return explanation(job, "calling", f"{name} called the endpoint {ago} ago{cancelled}")


def _cancellation(session: Session, job: Job) -> str:
    """The effect of a cancellation on a job that still runs; empty if it was not cancelled."""
    batch = session.get(Batch, job.batch_id) if job.batch_id else None
    cancelled_at = job.cancelled_at or (batch.cancelled_at if batch else None)
    if cancelled_at is None:
        return ""
    return f"; it was cancelled at {time_text(cancelled_at)}: it begins no call, and a paid result is copied"


def _queued(session: Session, job: Job, settings: CallSettings) -> Explanation:
    stopped = next(stoppages(session, job, settings), None)
    if stopped:
        return stopped
    if job.queue_state == QueueState.BLOCKED:
        text = "its batch blocked it and may continue now; the dispatcher makes its jobs ready"
        return explanation(job, "coming-back", text)
    if job.code == missing_results.CODE and missing_results.read_missing(session).stopped:
        return explanation(job, "cutout-missing", f"it waits: {job.message}", MISSING_REMEDY)
    if job.queue_state == QueueState.DELAYED and job.scheduled_at > database_now(session):
        reason = f"after {job.code}: {job.message}" if job.code else "as requested"
        text = f"it continues at {time_text(job.scheduled_at)}, {reason}"
        return Explanation(State(job.state), "delayed", text, until=job.scheduled_at)
    if job.queue_state == QueueState.WAITING:
        return waiting_for_same_picture(session, job)
    if job.queue_state == QueueState.DISPATCHED:
        return dispatched(job)
    if job.queue_state == QueueState.REUSING:
        text = "its cutout was bought before; a worker checks that the bucket still has it"
        return Explanation(State(job.state), "reusing", text, until=job.scheduled_at)
    if job.step == Step.COPY:
        return _ready_for_copy(session, job)
    return ready_for_call(session, job, settings)


def _ready_for_copy(session: Session, job: Job) -> Explanation:
    found = Unexpected.of(job.unexpected)
    if found is not None and found.accepted:
        return explanation(job, "copy", f"{found.key} was accepted; its copy is next, without any call")
    text = f"it is paid for; its copy is next, before any call{_cancellation(session, job)}"
    return explanation(job, "copy", text)
