"""The line that all jobs stand in."""

from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Double, SmallInteger, Table, text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.database import Base


class Line(Base):
    """The line's present time: the place of the job last handed out. Paused, no call goes out. One row."""

    __tablename__ = "line"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_line"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    present: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


LINE = cast("Table", Line.__table__)
