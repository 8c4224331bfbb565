"""The queue's virtual time, and each producer's share of the calls."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Double, SmallInteger, Table, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.database import Base


class QueueClock(Base):
    """One row. `virtual_time` is where a producer without a share begins; no call begins while paused."""

    __tablename__ = "queue_clock"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_clock"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Share(Base):
    """How much of the calls a producer had. The dispatcher alone writes it, so that it waits for nobody.

    The owner is a producer, or the nil UUID for jobs that have none. `virtual_time` is its calls divided by
    its share; `queue_virtual_time` the virtual_start of its job that was handed out last.
    """

    __tablename__ = "shares"

    owner: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))
    queue_virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))


QUEUE_CLOCK = cast("Table", QueueClock.__table__)
SHARES = cast("Table", Share.__table__)
