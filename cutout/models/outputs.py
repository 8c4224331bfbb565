"""The `outputs` table, its constraints and indexes; the renderers that are alive."""

import uuid
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    REAL,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import OutputState
from cutout.models.columns import NEW_ID, NOW, OWNER, one_of
from cutout.models.database import Base


class Output(Base):
    """One file made from what a job bought: its return form, a rendition, or the score of its cutout.

    A trigger inserts it in the transaction that makes the job succeeded. `due_at` is the time before which no
    renderer claims it; a claim sets it to the end of its lease and counts `fence` and `tries`. `version` is
    that of the code that made it, `factor` the enlargement against the picture that was sent. `measures` were
    taken from the stored file, `problems` are the rules that it does not meet.
    """

    __tablename__ = "outputs"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    batch_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    priority: Mapped[int] = mapped_column(SmallInteger)
    recipe: Mapped[str] = mapped_column(Text)
    # The template of the file's name; null for the default, whose object other jobs may share.
    file: Mapped[str | None] = mapped_column(Text)
    bought_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    source_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)

    state: Mapped[OutputState] = mapped_column(Text, server_default=OutputState.WAITING)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)

    version: Mapped[int | None] = mapped_column(SmallInteger)
    key: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    media_type: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    factor: Mapped[float | None] = mapped_column(REAL)
    measures: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    problems: Mapped[list[str] | None] = mapped_column(JSONB)
    note: Mapped[str | None] = mapped_column(Text)
    cpu_seconds: Mapped[float | None] = mapped_column(REAL)

    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint(one_of("state", OutputState), name="state_is_known"),
        CheckConstraint(
            "(state = 'waiting') = (finished_at IS NULL)", name="waiting_if_and_only_if_unfinished"
        ),
        CheckConstraint("state <> 'failed' OR code IS NOT NULL", name="failed_says_why"),
        CheckConstraint("(key IS NULL) = (sha256 IS NULL)", name="stored_under_a_key"),
        # Renderers take producers in turn, and the outputs of one in this order.
        Index(
            "ix_outputs_waiting",
            text(OWNER),
            "priority",
            "due_at",
            postgresql_where=text("state = 'waiting'"),
        ),
        # Outputs that wait for one purchase, which are claimed together.
        Index(
            "ix_outputs_picture",
            "bought_sha256",
            "priority",
            "due_at",
            postgresql_where=text("state = 'waiting'"),
        ),
        # Outputs made of one purchase, which others adopt.
        Index(
            "ix_outputs_bought",
            "bought_sha256",
            "recipe",
            text(OWNER),
            "job_id",
            postgresql_where=text("state = 'made'"),
        ),
        # Also the counts of a batch, by an index-only scan, and the names of its outputs.
        Index("ix_outputs_batch", "batch_id", "state", "name", postgresql_where=text("batch_id IS NOT NULL")),
        Index("ix_outputs_key", "key", postgresql_using="hash", postgresql_where=text("key IS NOT NULL")),
    )


class Renderer(Base):
    """A renderer process: `seen_at` is its last heartbeat, `processes` the pictures it makes at a time.

    `made` counts its outputs, `busy_seconds` is the time spent on them.
    """

    __tablename__ = "renderers"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    host: Mapped[str] = mapped_column(Text)
    processes: Mapped[int] = mapped_column(SmallInteger)
    made: Mapped[int] = mapped_column(server_default=text("0"))
    busy_seconds: Mapped[float] = mapped_column(REAL, server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


OUTPUTS = cast("Table", Output.__table__)
RENDERERS = cast("Table", Renderer.__table__)
