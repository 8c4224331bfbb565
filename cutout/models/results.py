"""What was bought before, and of which pictures."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import ReturnForm
from cutout.models.columns import NOW, one_of
from cutout.models.database import Base


class Result(Base):
    """A cutout by its identity: what it was made of and by, for whom, and in which bucket it lies.

    The primary key decides which of two jobs for the same picture calls: until the cutout is stored, the row
    is its `buyer`'s for as long as that job is under way; then it names the job whose object it is.
    `endpoint` is the address that was called, `image_sha256` of the bytes that were sent. `scope` says whose
    jobs are served from it: a producer's id, `operator` for jobs without one, or empty for all.
    `missing_since` says since when the bucket was seen not to hold the cutout, `missing_seen_at` when it was
    last seen so; the latter stays when the cutout is bought anew.
    """

    __tablename__ = "bought_results"
    __table_args__ = (
        CheckConstraint(one_of("return_form", ReturnForm), name="return_form_is_known"),
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
    return_form: Mapped[ReturnForm] = mapped_column(Text, primary_key=True)
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


class FormerResult(Base):
    """The table of the release before, whose programs may still run; nothing else reads it.

    It does not say which endpoint made a cutout, nor which bucket holds it.
    """

    __tablename__ = "results"
    __table_args__ = (
        CheckConstraint(one_of("return_form", ReturnForm), name="return_form_is_known"),
        CheckConstraint(
            "(stored_at IS NULL) = (key IS NULL) AND (key IS NULL) = (sha256 IS NULL)",
            name="stored_under_a_key",
        ),
    )

    source_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    return_form: Mapped[ReturnForm] = mapped_column(Text, primary_key=True)
    endpoint: Mapped[str] = mapped_column(Text, primary_key=True)
    preparation: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    buyer: Mapped[uuid.UUID] = mapped_column(Uuid)
    key: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    media_type: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    warning: Mapped[str | None] = mapped_column(Text)
    stored_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Source(Base):
    """What is remembered of a picture on the web or in a bucket: it is fetched again only if it changed.

    `address_sha256` is of its address, `etag` and `last_modified` are its server's words.
    """

    __tablename__ = "sources"

    address_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    content_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


RESULTS = cast("Table", Result.__table__)
SOURCES = cast("Table", Source.__table__)
