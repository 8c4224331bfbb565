"""The `calibrations` table: how the endpoint's own forms differ from those derived of its RGBA."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import DateTime, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.columns import NOW
from cutout.models.database import Base


class Calibration(Base):
    """The last comparison at an endpoint, given by the URL that is called: cutout/outputs/calibration.py."""

    __tablename__ = "calibrations"

    endpoint: Mapped[str] = mapped_column(Text, primary_key=True)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    found: Mapped[dict[str, Any]] = mapped_column(JSONB)


CALIBRATIONS = cast("Table", Calibration.__table__)
