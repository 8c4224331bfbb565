"""Schedules, their runs, and the pictures that they saw."""

import uuid
from datetime import datetime, time
from typing import Any, cast

from sqlalchemy import (
    REAL,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import UNDER_WAY, UNFINISHED_RUNS, AtWindowEnd, CatchUp, Change, Overlap, RunState
from cutout.models.columns import NEW_ID, NOW, one_of
from cutout.models.database import Base


class Schedule(Base):
    """A batch that repeats. Firing a run moves `next_fire_at`, if it is still the value that was read.

    `options` are the ingest options of each run; `next_due_at` is `next_fire_at` and its jitter. A source
    with less than the share `min_source_share` of the last run's pictures is read only by a run that is
    `accept_shrunk_source`. A removed schedule keeps its row for its runs; one that never fires again is
    paused. The operator's pause is separate from the producer's, and the producer lifts only its own.
    The run that is ordered for `skips_at` is skipped when its time comes; if `skips_by_operator`, its
    producer cannot let it start.
    `revision` rises with each change that somebody asks for.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint(one_of("at_window_end", AtWindowEnd), name="at_window_end_is_known"),
        CheckConstraint(one_of("overlap", Overlap), name="overlap_is_known"),
        CheckConstraint(one_of("catch_up", CatchUp), name="catch_up_is_known"),
        CheckConstraint("(window_start IS NULL) = (window_end IS NULL)", name="window_has_two_ends"),
        CheckConstraint("window_start <> window_end", name="window_has_a_length"),
        CheckConstraint("run_budget >= 0 AND month_budget >= 0", name="budgets_are_not_negative"),
        CheckConstraint("jitter_seconds >= 0 AND grace_seconds >= 0", name="durations_are_not_negative"),
        CheckConstraint(
            "min_source_share >= 0 AND min_source_share <= 1", name="min_source_share_is_a_share"
        ),
        CheckConstraint("next_due_at >= next_fire_at", name="due_at_its_time_or_later"),
        Index(
            "uq_schedules_producer_id_name",
            "producer_id",
            "name",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "ix_schedules_next_due_at",
            "next_due_at",
            postgresql_where=text("paused_at IS NULL AND removed_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    cron: Mapped[str] = mapped_column(Text)
    zone: Mapped[str] = mapped_column(Text)
    window_start: Mapped[time | None] = mapped_column(Time)
    window_end: Mapped[time | None] = mapped_column(Time)
    at_window_end: Mapped[AtWindowEnd] = mapped_column(Text, server_default=AtWindowEnd.WAIT)
    run_budget: Mapped[int | None]
    month_budget: Mapped[int | None]
    overlap: Mapped[Overlap] = mapped_column(Text, server_default=Overlap.SKIP)
    catch_up: Mapped[CatchUp] = mapped_column(Text, server_default=CatchUp.LATEST)
    jitter_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    grace_seconds: Mapped[int] = mapped_column(server_default=text("300"))
    min_source_share: Mapped[float] = mapped_column(REAL, server_default=text("0.5"))
    webhook_url: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    paused_by_operator_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    next_fire_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    skips_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    skips_by_operator: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    removed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # The producer's own pairs. SQLAlchemy reserves the name `metadata` in a class.
    metadata_: Mapped[dict[str, str] | None] = mapped_column("metadata", JSONB(none_as_null=True))
    revision: Mapped[int] = mapped_column(server_default=text("1"))


class Run(Base):
    """One firing of a schedule. The unique key prevents a second one for the same time.

    `closes_at` is the end of its window; `counts` are the numbers of its result, set at its end; `note` says
    why it was skipped or failed, or adds a remark.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("schedule_id", "fire_at"),
        CheckConstraint(one_of("state", RunState), name="state_is_known"),
        CheckConstraint(
            f"({one_of('state', UNFINISHED_RUNS)}) = (finished_at IS NULL)",
            name="ended_if_and_only_if_finished",
        ),
        CheckConstraint(
            "(batch_id IS NULL) = (started_at IS NULL)", name="begun_if_and_only_if_it_has_a_batch"
        ),
        CheckConstraint(
            "(state IN ('waiting', 'skipped')) = (batch_id IS NULL) OR state = 'failed'",
            name="only_what_was_begun_has_a_batch",
        ),
        CheckConstraint(
            "state NOT IN ('skipped', 'failed', 'late') OR note IS NOT NULL", name="what_went_wrong_says_why"
        ),
        Index(
            "uq_runs_schedule_id_under_way",
            "schedule_id",
            unique=True,
            postgresql_where=text(one_of("state", UNDER_WAY)),
        ),
        Index("ix_runs_waiting", "schedule_id", "fire_at", postgresql_where=text("state = 'waiting'")),
        Index(
            "ix_runs_without_report",
            "id",
            postgresql_where=text("report_key IS NULL AND finished_at IS NOT NULL AND state <> 'skipped'"),
        ),
        Index("ix_runs_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    schedule_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("schedules.id"))
    fire_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    fired_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    state: Mapped[RunState] = mapped_column(Text, server_default=RunState.WAITING)
    batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("batches.id"))
    closes_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    accept_shrunk_source: Mapped[bool] = mapped_column(server_default=text("false"))
    note: Mapped[str | None] = mapped_column(Text)
    counts: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    report_key: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Picture(Base):
    """A picture that a schedule saw: its version when last seen, the batches of the runs in which it was last
    read and last enqueued, and the reason for that. `had_succeeded`: a job of it that was deleted had
    succeeded, so it is not bought again, though no job says so any more.
    """

    __tablename__ = "pictures"
    __table_args__ = (CheckConstraint(one_of("change", Change), name="change_is_known"),)

    schedule_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    external_id: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[str | None] = mapped_column(Text)
    batch_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    seen_in: Mapped[uuid.UUID] = mapped_column(Uuid)
    change: Mapped[Change] = mapped_column(Text)
    had_succeeded: Mapped[bool] = mapped_column(server_default=text("false"))


SCHEDULES = cast("Table", Schedule.__table__)
RUNS = cast("Table", Run.__table__)
