"""Jobs enqueued together."""

import uuid
from datetime import datetime
from typing import Any, cast

from sqlalchemy import REAL, CheckConstraint, DateTime, Double, ForeignKey, Index, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import JobMessages
from cutout.models.columns import NEW_ID, NOW, address, one_of
from cutout.models.database import Base


class Batch(Base):
    """Jobs enqueued together. `last_virtual_start` is the virtual start of its last job.

    `spent` counts, once there is a budget, the calls that cost a credit or may: a call takes its credit here
    before it goes out. `virtual_shift` is added to the virtual starts of its blocked jobs when they are
    unblocked, so that they do not go before all others. `paused_at` is the producer's pause,
    `paused_by_operator_at` the operator's, which the producer cannot lift. Calls go out from `opens_at` until
    `closes_at`; either may be unset. From `cancelled_at` on nothing more is bought for it; paid results are
    still copied. `options` are the others that it was requested with, to be shown; `revision` rises with each
    change that somebody asks for. At `jobs_moved_at` a change of its weight moved jobs in the queue. From
    `delete_requested_at` on it takes no job. At `deleted_at` its jobs are deleted and the row is emptied:
    jobs, the ledger and runs still refer to it.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("weight > 0", name="weight_is_positive"),
        CheckConstraint("budget >= 0 AND spent >= 0", name="budget_is_not_negative"),
        address("webhook_url"),
        CheckConstraint(one_of("webhook_jobs", JobMessages), name="webhook_jobs_is_known"),
        CheckConstraint("opens_at < closes_at", name="window_has_a_length"),
        # A batch that never got a job has no virtual start, and no results to come.
        Index(
            "ix_batches_without_results",
            "id",
            postgresql_where=text("results_key IS NULL AND last_virtual_start > 0"),
        ),
        Index("ix_batches_outputs_pending", "id", postgresql_where=text("outputs_pending")),
        Index("ix_batches_closes_at", "closes_at", postgresql_where=text("closes_at IS NOT NULL")),
        Index("ix_batches_producer", "producer_id", "id", postgresql_where=text("producer_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    weight: Mapped[float] = mapped_column(REAL, server_default=text("1"))
    last_virtual_start: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    paused_by_operator_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    delete_requested_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    opens_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closes_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reuse: Mapped[bool] = mapped_column(server_default=text("true"))
    results_key: Mapped[str | None] = mapped_column(Text)
    # Numbers of its jobs by state, written with `results_key` and true while that is set.
    tally: Mapped[dict[str, int] | None] = mapped_column(JSONB(none_as_null=True))
    # Credits charged for its jobs, written with `tally`. The statement that records a later charge empties
    # it: then whoever lists the batch counts them, 0.6 s for a million jobs, and writes them down again.
    credits: Mapped[int | None]
    # The renditions of each of its jobs: {name: {"recipe": text, "file": template of the file's name}}.
    renditions: Mapped[dict[str, dict[str, str]] | None] = mapped_column(JSONB(none_as_null=True))
    # Its results were written while outputs of it were waiting: they are written again once all are final.
    outputs_pending: Mapped[bool] = mapped_column(server_default=text("false"))
    # Set when a job of it is deleted: its results must be written again. Its end was notified already.
    results_unwritten_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Notified by a trigger, in the transaction that writes `results_key`.
    webhook_url: Mapped[str | None] = mapped_column(Text)
    webhook_jobs: Mapped[JobMessages] = mapped_column(Text, server_default=JobMessages.NONE)
    budget: Mapped[int | None]
    spent: Mapped[int] = mapped_column(server_default=text("0"))
    # Not used any more.
    blocked: Mapped[bool] = mapped_column(server_default=text("false"))
    virtual_shift: Mapped[float | None] = mapped_column(Double)
    # The producer's own pairs. SQLAlchemy reserves the name `metadata` in a class.
    metadata_: Mapped[dict[str, str] | None] = mapped_column("metadata", JSONB(none_as_null=True))
    options: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    jobs_moved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


BATCHES = cast("Table", Batch.__table__)
