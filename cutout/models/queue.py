"""The line that all jobs stand in, and each producer's share of the calls."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Double, SmallInteger, Table, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.database import Base


class Line(Base):
    """One row. Paused, no call goes out. `virtual_time` is what a producer's share begins at that comes anew.

    `present` is of the release before, whose programs may still run; nothing reads it.
    """

    __tablename__ = "line"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_line"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    present: Mapped[float] = mapped_column(Double, server_default=text("0"))
    virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Share(Base):
    """How much of the calls a producer had. The dispatcher alone writes it, so that it waits for nobody.

    The owner is a producer, or the nil UUID for jobs that have none. `virtual_time` is its calls divided by
    its share; `present` the place of its job that was handed out last.
    """

    __tablename__ = "shares"

    owner: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    virtual_time: Mapped[float] = mapped_column(Double, server_default=text("0"))
    present: Mapped[float] = mapped_column(Double, server_default=text("0"))


LINE = cast("Table", Line.__table__)
SHARES = cast("Table", Share.__table__)
