"""Whether the bucket takes cutouts."""

from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, SmallInteger, Table, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.database import Base
from jobs.models.columns import NOW


class Breaker(Base):
    """Whether the bucket takes cutouts. Open, no call goes out: never buy what cannot be stored. One row.

    `trips` counts the openings since storage last held for a while; each makes the next probe wait longer.
    """

    __tablename__ = "breaker"
    __table_args__ = (
        CheckConstraint("id = 1", name="there_is_one_bucket"),
        CheckConstraint(
            "(opened_at IS NULL) = (reason IS NULL) AND (opened_at IS NULL) = (probe_at IS NULL)",
            name="open_with_a_reason_and_a_probe",
        ),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    opened_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None] = mapped_column(Text)
    probe_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    trips: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))


BREAKER = cast("Table", Breaker.__table__)
