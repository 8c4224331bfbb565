"""Explanations of queued jobs that nothing stops: their position, and jobs or sources that they wait for."""

import uuid
from datetime import timedelta

from sqlalchemy import Uuid, cast, func, literal, select, tuple_
from sqlalchemy.orm import Session

from cutout.enums import State
from cutout.models import Job
from cutout.models.columns import NIL_OWNER
from cutout.queue.blocks import download_limit
from cutout.queue.producer_shares import eligible_owners
from cutout.queue.queue_scan import IS_READY_FOR_CALL, JOB_OWNER
from cutout.status.call_rate import CallSettings, calls_a_second
from cutout.status.explanation import (
    Explanation,
    database_now,
    duration_text,
    explanation,
    time_text,
)

# Counting further costs more than the figure is worth.
MOST_COUNTED = 100_000


def ready_for_call(session: Session, job: Job, settings: CallSettings) -> Explanation:
    """A job that is ready for its call: the number of calls before it, and the time that these take."""
    if download_limit.is_over_limit(session, job):
        text = (
            "its producer has as many downloads from the web under way as its share allows; it continues with"
            " its old position as these end"
        )
        remedy = "check that the servers of its pictures answer, or upload the pictures"
        return explanation(job, "source-limit", text, remedy)
    ahead = _count_ahead(session, job)
    rate = (calls_a_second(session, settings.accounts, settings.calls_per_second) or 0) * _share_of(
        session, job
    )
    count = f"{'at least ' if ahead == MOST_COUNTED else ''}{ahead:,}"
    text = f"it is in the queue behind {count} other{'' if ahead == 1 else 's'}"
    if not rate:
        return Explanation(State(job.state), "ready", text, ahead=ahead)
    wait = timedelta(seconds=ahead / rate)
    text += f"; at {rate:.1f} calls/s its turn comes in about {duration_text(wait)}"
    return Explanation(State(job.state), "ready", text, ahead=ahead, until=database_now(session) + wait)


def waiting_for_same_picture(session: Session, job: Job) -> Explanation:
    """A job that waits for another job to buy the cutout of the same picture."""
    text = "another job buys the cutout of the same picture; it continues with its old position after that"
    buyer = session.get(Job, job.waits_for)
    if buyer is None or buyer.producer_id != job.producer_id:
        return explanation(job, "same-picture", text)
    return explanation(job, "same-picture", f"{text}: {buyer.id}", f"see `cutout explain {buyer.id}`")


def dispatched(job: Job) -> Explanation:
    """A job whose message is on its way."""
    text = (
        f"it is on its way to a worker; unless a worker takes it, it is dispatched again at"
        f" {time_text(job.scheduled_at)}"
    )
    return Explanation(State(job.state), "dispatched", text, until=job.scheduled_at)


def _count_ahead(session: Session, job: Job) -> int:
    ahead = (
        select(Job.id)
        .where(
            IS_READY_FOR_CALL,
            func.coalesce(cast(literal(job.producer_id), Uuid), NIL_OWNER) == JOB_OWNER,
            tuple_(Job.priority, Job.virtual_start) < tuple_(job.priority, job.virtual_start),
        )
        .limit(MOST_COUNTED)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(ahead)) or 0


def _share_of(session: Session, job: Job) -> float:
    """The producer's share of all calls now, by the weights of the producers that have ready jobs."""
    owners = eligible_owners().owners
    owner = job.producer_id or uuid.UUID(int=0)
    weight = func.max(owners.c.weight).filter(owners.c.owner == owner)
    share: float | None = session.scalar(select(weight / func.sum(owners.c.weight)))
    return share or 1.0
