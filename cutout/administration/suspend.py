"""Suspension of a producer: its keys are refused and its work stops, until it is resumed.

Dispatching jobs, beginning calls, firing schedules, reading manifests, claiming outputs and sending messages
each test the producer's row (`cutout.producers.producers`), so nothing else is marked. Calls under way end,
and paid results are copied.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, null, select, update
from sqlalchemy.orm import Session

from cutout.enums import DeliveryState, State
from cutout.models import BATCHES, DELIVERIES, INGESTS, JOBS, SCHEDULES, ApiKey, Producer, Schedule, constant
from cutout.schedules.manage import next_runs
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.webhooks.outbox import send_all, stop_all


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The number of a producer's jobs, ingests, schedules and messages that need no further request."""

    queued: int
    running: int
    held: int
    ingests: int
    schedules: int
    deliveries: int


def suspend(session: Session, producer_id: uuid.UUID) -> bool:
    """Refuse the producer's keys and stop its work; False if it is already suspended or does not exist."""
    if not _set(session, producer_id, Producer.suspended_at.is_(None), func.now()):
        return False
    stop_all(session, producer_id)
    return True


def resume(session: Session, producer_id: uuid.UUID) -> bool:
    """Let its work continue; False if it is not suspended.

    Runs of schedules that were due during the suspension are skipped.
    """
    if not _set(session, producer_id, Producer.suspended_at.is_not(None), null()):
        return False
    send_all(session, producer_id)
    now = session.scalars(select(func.now())).one()
    kept = select(Schedule).where(Schedule.producer_id == producer_id, Schedule.removed_at.is_(None))
    for schedule in session.scalars(kept.with_for_update()):
        if schedule.next_fire_at <= now:
            _skip_missed(schedule, now)
    return True


def _skip_missed(schedule: Schedule, now: datetime) -> None:
    # A time zone that no longer exists, or no next run: firing pauses the schedule and records the reason.
    with suppress(InvalidScheduleError):
        for first in next_runs(schedule, now, 1):
            schedule.next_fire_at, schedule.next_due_at = first.fire_at, first.due_at


def under_way(session: Session, producer_id: uuid.UUID) -> UnderWay:
    """Count the producer's work that continues by itself."""

    def jobs(state: State) -> ColumnElement[int]:
        return count(JOBS.c.producer_id == producer_id, JOBS.c.state == constant(state))

    def count(*which: ColumnElement[bool]) -> ColumnElement[int]:
        return select(func.count()).where(*which).scalar_subquery()

    row = session.execute(
        select(
            jobs(State.QUEUED),
            jobs(State.RUNNING),
            jobs(State.HELD),
            count(
                BATCHES.c.producer_id == producer_id,
                INGESTS.c.batch_id == BATCHES.c.id,
                INGESTS.c.finished_at.is_(None),
                INGESTS.c.source.is_not(None),
            ),
            count(
                SCHEDULES.c.producer_id == producer_id,
                SCHEDULES.c.removed_at.is_(None),
                SCHEDULES.c.paused_at.is_(None),
                SCHEDULES.c.paused_by_operator_at.is_(None),
            ),
            count(
                DELIVERIES.c.producer_id == producer_id,
                DELIVERIES.c.state == constant(DeliveryState.WAITING),
            ),
        )
    ).one()
    return UnderWay(*row)


def has_valid_key(session: Session, producer_id: uuid.UUID) -> bool:
    """Whether the producer has a key that is neither revoked nor expired."""
    valid = select(ApiKey.id).where(
        ApiKey.producer_id == producer_id,
        ApiKey.revoked_at.is_(None),
        (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > func.now()),
    )
    return session.scalar(select(valid.exists())) or False


def _set(
    session: Session, producer_id: uuid.UUID, condition: ColumnElement[bool], at: ColumnElement[Any]
) -> bool:
    changed = (
        update(Producer)
        .where(Producer.id == producer_id, condition)
        .values(suspended_at=at)
        .returning(Producer.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(changed) is not None
