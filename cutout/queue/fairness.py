"""Start-time fair queueing inside one producer's queue: the formula for a job's virtual start, once.

A flow is a batch, or a producer's jobs without a batch. Each job of it costs 1/weight. A flow's next job
starts at max(the flow's last start, the queue's virtual time) + cost (Goyal, Vin, Cheng 1996).
"""

from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute

from cutout.models import SHARES
from cutout.models.columns import NIL_OWNER

Column = ColumnElement[Any] | InstrumentedAttribute[Any]


def virtual_time_of(producer_id: Column) -> ColumnElement[float]:
    """The virtual time of a producer's queue: the virtual start of its job that was dispatched last."""
    own = select(SHARES.c.queue_virtual_time).where(SHARES.c.owner == func.coalesce(producer_id, NIL_OWNER))
    return func.coalesce(own.correlate_except(SHARES).scalar_subquery(), literal_column("0"))


def last_start(last: Column, producer_id: Column, jobs: Any, weight: Any) -> ColumnElement[float]:
    """The flow's last virtual start after so many more jobs: numbers or SQL expressions."""
    start: ColumnElement[float] = func.greatest(last, virtual_time_of(producer_id)) + jobs / weight
    return start


def start_before(last: Any, jobs_behind: Any, weight: Any) -> Any:
    """The virtual start of the job that has so many jobs of its flow behind it, the last at `last`."""
    return last - jobs_behind / weight
