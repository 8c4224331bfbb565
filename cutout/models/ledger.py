"""The ledger of paid calls, the spending per day, and readings of the credits left."""

import uuid
from datetime import date, datetime
from typing import cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import AttemptOutcome
from cutout.models.columns import NOW, one_of
from cutout.models.database import Base


class Attempt(Base):
    """One paid call that was begun: a row of the ledger, written before the request is sent.

    It begins as `unknown` without an end, which is correct if its worker dies. `unknown_at` is the time when
    it was given up as unknown; it stays if the worker reports the outcome later. `lost_at`: the paid result
    expired before it was stored. `in_outage` flags a call of unknown outcome while the endpoint failed for
    all jobs: it does not count against its job. `source_sha256`, `endpoint`, `preparation` and `scope` are
    parts of the identity of the purchase (`cutout/queue/reuse/identity.py`).
    """

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        CheckConstraint(one_of("outcome", AttemptOutcome), name="outcome_is_known"),
        CheckConstraint("outcome = 'unknown' OR ended_at IS NOT NULL", name="a_known_outcome_has_an_end"),
        CheckConstraint("lost_at IS NULL OR outcome = 'charged'", name="only_what_was_paid_can_be_lost"),
        Index("ix_attempts_begun_at", "begun_at"),
        Index("ix_attempts_open", "begun_at", postgresql_where=text("ended_at IS NULL")),
        # A call with a response is never in it.
        Index(
            "ix_attempts_in_doubt",
            "source_sha256",
            postgresql_where=text("unknown_at IS NOT NULL OR lost_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    number: Mapped[int] = mapped_column(SmallInteger)
    fence: Mapped[int]
    worker_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    image_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    source_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    endpoint: Mapped[str | None] = mapped_column(Text)
    preparation: Mapped[int | None] = mapped_column(SmallInteger)
    scope: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[AttemptOutcome] = mapped_column(Text, server_default=AttemptOutcome.UNKNOWN)
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    unknown_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lost_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    in_outage: Mapped[bool] = mapped_column(server_default=text("false"))
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    log_id: Mapped[str | None] = mapped_column(Text)
    # Secret: the body of a response that was not understood, which may contain the URL of a paid result.
    raw_answer: Mapped[str | None] = mapped_column(Text)


class Spending(Base):
    """Credits that the calls of a day (UTC) cost or may have cost, counted while there is a daily budget."""

    __tablename__ = "spending"
    __table_args__ = (CheckConstraint("spent >= 0", name="spent_is_not_negative"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    spent: Mapped[int] = mapped_column(server_default=text("0"))


class CreditReading(Base):
    """The credits of an account as the endpoint reported them, to compare the ledger with."""

    __tablename__ = "credit_readings"
    __table_args__ = (Index("ix_credit_readings_account_read_at", "account", "read_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    read_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    balance: Mapped[float] = mapped_column(Double)


ATTEMPTS = cast("Table", Attempt.__table__)
SPENDING = cast("Table", Spending.__table__)
