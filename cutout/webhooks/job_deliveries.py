"""Deliveries that tell of one job: messages about it alone, and the digests that have it."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import ARRAY, Row, Text, Uuid, bindparam, text

from cutout.enums import DeliveryState
from cutout.models.database import Database
from cutout.webhooks.deleted_jobs import first_id_of

MOST_DELIVERIES = 50
# Digests of the batch from a moment on: of a batch with several receivers each has one.
MOST_DIGESTS = 20
COLUMNS = "id, type, host, state, tries, last_status, last_error, created_at, finished_at, past_ends"
ABOUT_IT = text(f"""
    SELECT {COLUMNS} FROM deliveries
    WHERE type LIKE 'job.%' AND payload::json -> 'data' ->> 'id' = :job
        AND producer_id IS NOT DISTINCT FROM :producer
    ORDER BY id DESC LIMIT :most
""").bindparams(  # noqa: S608 - a constant
    bindparam("job", type_=Text), bindparam("producer", type_=Uuid), bindparam("most", MOST_DELIVERIES)
)
IN_DIGESTS = text(f"""
    SELECT DISTINCT {COLUMNS} FROM unnest(:since) AS since CROSS JOIN LATERAL (
        SELECT * FROM deliveries
        WHERE type = 'jobs.digest' AND payload::json -> 'data' ->> 'batch_id' = :batch AND id >= since
        ORDER BY id LIMIT :most
    ) digest
    WHERE position(:job IN payload) > 0 AND producer_id IS NOT DISTINCT FROM :producer
""").bindparams(  # noqa: S608 - a constant
    bindparam("since", type_=ARRAY(Uuid)),
    bindparam("batch", type_=Text),
    bindparam("job", type_=Text),
    bindparam("producer", type_=Uuid),
    bindparam("most", MOST_DIGESTS),
)


@dataclass(frozen=True, slots=True)
class PastEnd:
    """An end of a message, after which it was sent again at `again_at`."""

    state: DeliveryState
    at: datetime
    tries: int
    status: int | None
    error: str | None
    again_at: datetime

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """Build from a value of the column."""
        times = {name: datetime.fromisoformat(stored[name]) for name in ("at", "again_at")}
        return cls(**stored | times | {"state": DeliveryState(stored["state"])})


@dataclass(frozen=True, slots=True)
class JobDelivery:
    """A message that tells of a job, and what became of it."""

    id: uuid.UUID
    type: str
    host: str
    state: DeliveryState
    tries: int
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    past_ends: tuple[PastEnd, ...]


def deliveries_of_job(
    database: Database,
    job_id: uuid.UUID,
    *,
    producer_id: uuid.UUID | None,
    batch_id: uuid.UUID | None,
    moments: Collection[datetime],
) -> Sequence[JobDelivery]:
    """The latest MOST_DELIVERIES messages about the job, and the digests with it.

    A digest is looked for from the `moments` on at which the job may have ended or been held.
    """
    asked: dict[str, Any] = {"job": str(job_id), "producer": producer_id}
    found = list(database.execute(ABOUT_IT, asked))
    if batch_id is not None and moments:
        asked |= {"batch": str(batch_id), "since": [first_id_of(each) for each in moments]}
        found += database.execute(IN_DIGESTS, asked)
    return [_of(row) for row in found]


def _of(row: Row[*tuple[Any, ...]]) -> JobDelivery:
    fields: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - a public name
    fields["state"] = DeliveryState(row.state)
    fields["past_ends"] = tuple(PastEnd.of(each) for each in row.past_ends or ())
    return JobDelivery(**fields)
