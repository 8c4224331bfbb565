"""Results bought before, and the validators of their sources."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import ReturnForm
from cutout.models.columns import NOW, one_of
from cutout.models.database import Base


class Result(Base):
    """A cutout by its identity: its source, its recipe, its scope and its bucket.

    The primary key decides which of two jobs for the same picture calls. Until the cutout is stored, the row
    belongs to its `buyer` for as long as that job is unfinished; then `buyer` is the job that has the object.
    `endpoint` is the URL that was called, `image_sha256` the hash of the bytes that were sent. `scope` names
    the jobs that may reuse it: a producer's id, `operator` for jobs without a producer, or empty for all.
    `missing_since` is the time since which the bucket lacks the cutout, `missing_seen_at` the time when that
    was last seen; the latter stays when the cutout is bought again.
    """

    __tablename__ = "bought_results"
    __table_args__ = (
        CheckConstraint(one_of("bought_form", ReturnForm), name="bought_form_is_known"),
        CheckConstraint(
            "(stored_at IS NULL) = (key IS NULL) AND (key IS NULL) = (sha256 IS NULL)",
            name="stored_under_a_key",
        ),
        Index(
            "ix_bought_results_missing",
            "missing_seen_at",
            postgresql_where=text("missing_seen_at IS NOT NULL"),
        ),
    )

    source_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    bought_form: Mapped[ReturnForm] = mapped_column(Text, primary_key=True)
    endpoint: Mapped[str] = mapped_column(Text, primary_key=True)
    preparation: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    bucket: Mapped[str] = mapped_column(Text, primary_key=True)
    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    buyer: Mapped[uuid.UUID] = mapped_column(Uuid)
    image_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    key: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    media_type: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    warning: Mapped[str | None] = mapped_column(Text)
    stored_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    missing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    missing_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Source(Base):
    """The validators of a picture on the web or in a bucket: it is fetched again only if it changed.

    `address_sha256` is the hash of its address; `etag` and `last_modified` are as its server sent them.
    """

    __tablename__ = "sources"

    address_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    content_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


RESULTS = cast("Table", Result.__table__)
SOURCES = cast("Table", Source.__table__)
