"""The worker processes."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import DateTime, Index, Table, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.database import Base
from jobs.models.columns import NEW_ID, NOW


class Worker(Base):
    """A worker process. Silent for too long, or once it has left, its jobs are rescued.

    `cut_off_at` says since when it does not reach the bucket, while it does not.
    """

    __tablename__ = "workers"
    __table_args__ = (Index("ix_workers_cut_off", "id", postgresql_where=text("cut_off_at IS NOT NULL")),)

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    left_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cut_off_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cut_off_reason: Mapped[str | None] = mapped_column(Text)


WORKERS = cast("Table", Worker.__table__)
