"""The queue's virtual time, and each producer's share of the calls."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Double, SmallInteger, Table, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.database import Base


class QueueClock(Base):
    """One row. A producer that was idle begins at `virtual_time`. While paused, no call goes out."""

    __tablename__ = "queue_clock"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_clock"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Share(Base):
    """The calls that a producer had. Only the dispatcher writes it, so it never waits for a lock.

    The owner is a producer, or the nil UUID for jobs that have none. `virtual_time` is its calls divided by
    its share; `queue_virtual_time` is the virtual_start of its job that was dispatched last.
    """

    __tablename__ = "shares"

    owner: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))
    queue_virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))


QUEUE_CLOCK = cast("Table", QueueClock.__table__)
SHARES = cast("Table", Share.__table__)
