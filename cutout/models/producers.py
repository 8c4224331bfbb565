"""Producers, which enqueue over HTTP, and their API keys."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import (
    REAL,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import OperatorScope, Priority, Scope
from cutout.models.columns import NEW_ID, NOW, array_of
from cutout.models.database import Base


class Producer(Base):
    """A client that enqueues over HTTP, with keys of its own.

    Without `job_quota` it may have any number of unfinished jobs. `quota_taken` is never less than their
    number, except for jobs that were retried by hand; it is counted again before it refuses a job. `share`
    is its weight beside other producers. No job of it has a better priority than `top_priority`, and no batch
    a larger weight than `most_weight`, if these are set. From `suspended_at` on its keys are refused, and its
    jobs, ingests, schedules and webhooks stop.
    """

    __tablename__ = "producers"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    name: Mapped[str] = mapped_column(Text)
    # Not used any more: keys are in api_keys.
    key_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    last_virtual_start: Mapped[float] = mapped_column(Double, server_default=text("0"))
    job_quota: Mapped[int | None]
    quota_taken: Mapped[int] = mapped_column(server_default=text("0"))
    quota_counted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    suspended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    share: Mapped[float] = mapped_column(REAL, server_default=text("1"))
    top_priority: Mapped[int | None] = mapped_column(SmallInteger)
    most_weight: Mapped[float | None] = mapped_column(REAL)

    __table_args__ = (
        CheckConstraint("job_quota >= 0 AND quota_taken >= 0", name="quota_is_not_negative"),
        CheckConstraint("share > 0", name="share_is_positive"),
        CheckConstraint(
            f"top_priority BETWEEN {min(Priority):d} AND {max(Priority):d}", name="top_priority_is_known"
        ),
        CheckConstraint("most_weight > 0", name="most_weight_is_positive"),
    )


class ApiKey(Base):
    """A key of a producer, or of an operator if it has none; stored as a hash.

    An operator's key has the operator's name. `last_used_at` is accurate to about a minute.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint(
            f"cardinality(scopes) > 0 AND scopes <@ CASE WHEN producer_id IS NULL"
            f" THEN {array_of(OperatorScope)} ELSE {array_of(Scope)} END",
            name="scopes_are_known",
        ),
        Index("ix_api_keys_producer_id", "producer_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    key_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


PRODUCERS = cast("Table", Producer.__table__)
