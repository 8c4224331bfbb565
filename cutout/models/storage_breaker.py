"""Breakers that stop new calls, so that nothing is bought that cannot be fetched and stored."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import Stop
from cutout.models.columns import NOW, one_of
from cutout.models.database import Base


class Breaker(Base):
    """A breaker; one row for each kind. While it is open no call goes out. A kind without a row is closed.

    `trips` counts the openings since it was last closed for a while; each delays the next probe more. `host`
    and `code` say where results cannot be fetched and why. `failed_jobs` are the jobs of the last results
    that were not fetched, with no success between; `probe_job` may call while it is open.
    """

    __tablename__ = "breaker"
    __table_args__ = (
        CheckConstraint(one_of("kind", Stop), name="kind_is_known"),
        CheckConstraint(
            "(opened_at IS NULL) = (reason IS NULL) AND (opened_at IS NULL) = (probe_at IS NULL)",
            name="open_with_a_reason_and_a_probe",
        ),
    )

    kind: Mapped[Stop] = mapped_column(Text, primary_key=True, server_default=Stop.BUCKET)
    # Not used any more.
    id: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    opened_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None] = mapped_column(Text)
    host: Mapped[str | None] = mapped_column(Text)
    code: Mapped[str | None] = mapped_column(Text)
    probe_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    trips: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    failed_jobs: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'::uuid[]"))
    probe_job: Mapped[uuid.UUID | None] = mapped_column(Uuid)


BREAKER = cast("Table", Breaker.__table__)
