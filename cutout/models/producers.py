"""Who enqueues over HTTP, and by which keys."""

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

from cutout.enums import Priority, Scope
from cutout.models.columns import NEW_ID, NOW, array_of
from cutout.models.database import Base


class Producer(Base):
    """Who enqueues over HTTP, by keys of its own.

    Without `job_quota` it may have any number of unfinished jobs. `quota_taken` is never less than it has,
    but for jobs that were put back by hand; it is counted anew where it would stand in the way.
    `share` is its weight beside other producers. No job of it is of a better priority than `top_priority`, no
    batch weighs more than `most_weight`, unless these are not set. Since `suspended_at` its keys are refused,
    and neither its jobs, its ingests, its schedules nor its webhooks go on.
    `key_sha256` is what programs of the release before know a producer by.
    """

    __tablename__ = "producers"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    name: Mapped[str] = mapped_column(Text)
    key_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    last_place: Mapped[float] = mapped_column(Double, server_default=text("0"))
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
    """A producer's key, of which a hash is kept. `last_used_at` is true to the minute or so."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint(f"cardinality(scopes) > 0 AND scopes <@ {array_of(Scope)}", name="scopes_are_known"),
        Index("ix_api_keys_producer_id", "producer_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    key_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


PRODUCERS = cast("Table", Producer.__table__)
