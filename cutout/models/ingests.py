"""Ingests: manifests that are read into batches."""

import uuid
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.columns import NOW
from cutout.models.database import Base

# The operator, whose ingests alternate with those of producers.
NOBODY = uuid.UUID(int=0)


class Ingest(Base):
    """The progress of reading a manifest into its batch; each chunk advances it together with its jobs.

    `records` were read, and gave `pictures` = `jobs` + `rejects` + `duplicates` + `unchanged`. `fingerprint`
    identifies the command, so that a repeated one resumes.

    With a `source` it was requested: an ingester reads it from `due_at` on, and again after an error that may
    pass. `error` says why it ended before all was read; `plan` is its price, if somebody must approve it.
    `asked_by` is the producer, or NOBODY for the operator. One that is `to_fetch` is downloaded before it is
    read. `deaths` counts how often it was resumed since its last progress or orderly end. `code` is the
    machine-readable form of `error`. While it waits for room, `code` and `message` say so.

    `skipped` counts files that are not taken, by reason; `remarks` are sentences for the person who asked.
    """

    __tablename__ = "ingests"
    __table_args__ = (
        CheckConstraint("pictures = jobs + rejects + duplicates + unchanged", name="counts_add_up"),
        CheckConstraint("(source IS NULL) = (due_at IS NULL)", name="requested_if_and_only_if_due"),
        CheckConstraint("error IS NULL OR finished_at IS NOT NULL", name="an_error_ends_it"),
        Index(
            "ix_ingests_requested",
            "due_at",
            postgresql_where=text("source IS NOT NULL AND finished_at IS NULL"),
        ),
        Index(
            "ix_ingests_turns",
            "to_fetch",
            "asked_by",
            "due_at",
            postgresql_where=text("source IS NOT NULL AND finished_at IS NULL"),
        ),
        Index(
            "uq_ingests_fingerprint_unfinished",
            "fingerprint",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    asked_by: Mapped[uuid.UUID] = mapped_column(Uuid, server_default=text(f"'{NOBODY}'"))
    to_fetch: Mapped[bool] = mapped_column(Boolean, server_default=false())
    deaths: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    manifest_key: Mapped[str | None] = mapped_column(Text)
    rejects_key: Mapped[str | None] = mapped_column(Text)
    plan: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    records: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    pictures: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    jobs: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rejects: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    duplicates: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    changes: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    # Of a finished run of a schedule: the files or objects that it read, with their versions, and the forms.
    identity: Mapped[bytes | None] = mapped_column(LargeBinary)
    skipped: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    remarks: Mapped[list[str] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class IngestTurn(Base):
    """The time when an ingest of a producer was last started: the producer that waited longest is next."""

    __tablename__ = "ingest_turns"

    asked_by: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


INGESTS = cast("Table", Ingest.__table__)
