"""Jobs of the lists behind Trouble."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row

from console.changes.job import acceptable
from console.viewer import Viewer
from cutout.enums import State
from cutout.models import JOBS
from cutout.status.producer_texts import text_for_producer
from cutout.storage.unexpected_bytes import Unexpected

A_PAGE = 50
COLUMNS = [
    JOBS.c[name]
    for name in (
        *("id", "external_id", "state", "code", "message", "batch_id", "created_at", "result_expires_at"),
        "unexpected",
    )
]


@dataclass(frozen=True, slots=True)
class TroubledJob:
    """A job of a list; `acceptable` is whether what came unexpectedly for it may be its cutout."""

    id: uuid.UUID
    external_id: str | None
    state: str
    code: str | None
    message: str | None
    batch_id: uuid.UUID | None
    created_at: datetime
    expires_at: datetime | None
    acceptable: bool


def own(viewer: Viewer) -> list[ColumnElement[bool]]:
    """The condition that bounds jobs to what the viewer may see."""
    return [] if viewer.is_operator else [JOBS.c.producer_id == viewer.producer_id]


def troubled_job(row: Row[*tuple[Any, ...]], viewer: Viewer) -> TroubledJob:
    """The job of a row with COLUMNS."""
    found = dict(row._mapping)  # noqa: SLF001 - a public name
    came = acceptable(State(row.state), Unexpected.of(found.pop("unexpected")))
    expires_at = found.pop("result_expires_at")
    message = shown(found.pop("message"), viewer)
    return TroubledJob(**found, message=message, expires_at=expires_at, acceptable=came is not None)


def shown(text: str | None, viewer: Viewer) -> str:
    """A text of a job or message as the viewer may read it."""
    return (text or "") if viewer.is_operator else text_for_producer(text or "")
