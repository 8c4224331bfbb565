"""Who enqueues over HTTP, and by which keys."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Double, ForeignKey, Index, LargeBinary, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from jobs.database import Base
from jobs.models.columns import NEW_ID, NOW
from jobs.models.words import array_of
from jobs.scopes import Scope


class Producer(Base):
    """Who enqueues over HTTP, by keys of its own.

    Without `job_quota` it may have any number of unfinished jobs. `quota_taken` is never less than it has,
    but for jobs that were put back by hand; it is counted anew where it would stand in the way.
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

    __table_args__ = (CheckConstraint("job_quota >= 0 AND quota_taken >= 0", name="quota_is_not_negative"),)


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
