"""The accounts at the endpoint, and their learned rate limits."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, DateTime, Double, ForeignKey, Table, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.columns import NOW
from cutout.models.database import Base


class Account(Base):
    """An API key at the endpoint, named by a fingerprint. While paused, no call uses it.

    `doubted_job` was the last job to get `doubted_code`, a response that would pause the account if it came
    from the endpoint itself. A second job that gets the same response pauses the account.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(
            "(paused_at IS NULL) = (pause_code IS NULL) AND (paused_at IS NULL) = (probe_at IS NULL)",
            name="a_pause_has_a_reason_and_a_probe",
        ),
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    pause_code: Mapped[str | None] = mapped_column(Text)
    pause_message: Mapped[str | None] = mapped_column(Text)
    probe_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    doubted_job: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    doubted_code: Mapped[str | None] = mapped_column(Text)
    doubted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    credits: Mapped[float | None] = mapped_column(Double)
    credits_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Limit(Base):
    """The learned limit of an account, and its state when the leading dispatcher last read it.

    `level` calls may be open; `top` is the ceiling found, None before the first slow response; durations are
    in seconds. Redis holds the limit itself; it is restored from this row, and people see this row.
    """

    __tablename__ = "limits"

    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), primary_key=True)
    level: Mapped[float] = mapped_column(Double)
    top: Mapped[float | None] = mapped_column(Double)
    open_calls: Mapped[int]
    waiting: Mapped[int]
    calls_per_second: Mapped[float] = mapped_column(Double)
    latency_seconds: Mapped[float] = mapped_column(Double)
    slow_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    rests_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    circuit_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


ACCOUNTS = cast("Table", Account.__table__)
LIMITS = cast("Table", Limit.__table__)
