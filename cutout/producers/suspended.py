"""Predicates over the producer of an outer statement: whether it is suspended."""

from typing import Any

from sqlalchemy import ColumnElement, select

from cutout.models import JOBS, PRODUCERS


def is_suspended(producer_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the producer in an outer statement is suspended; what has no producer never is."""
    its = PRODUCERS.alias("suspended")
    suspended = select(its.c.id).where(its.c.id == producer_id, its.c.suspended_at.is_not(None))
    return suspended.correlate_except(its).exists()


# Its jobs stay ready and are not dispatched (queue/producer_shares.py); no call of a dispatched one begins.
PRODUCER_IS_SUSPENDED = is_suspended(JOBS.c.producer_id)
