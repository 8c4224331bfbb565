"""The worker processes."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import ARRAY, DateTime, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.columns import NEW_ID, NOW
from cutout.models.database import Base


class Worker(Base):
    """A worker process. Its jobs are rescued after too long a silence, or once it has left.

    `beats` counts its heartbeats. Each has the jobs in flight and their fences, except one that adds a lost
    row again. `cut_off_at` is the time since which it cannot reach the bucket, empty if it can.
    """

    __tablename__ = "workers"
    __table_args__ = (Index("ix_workers_cut_off", "id", postgresql_where=text("cut_off_at IS NOT NULL")),)

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    beats: Mapped[int] = mapped_column(server_default=text("0"))
    carried_jobs: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))
    carried_fences: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    left_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Its threads for the step `call`; unknown for a worker of an older version.
    call_threads: Mapped[int | None]
    cut_off_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cut_off_reason: Mapped[str | None] = mapped_column(Text)


WORKERS = cast("Table", Worker.__table__)
