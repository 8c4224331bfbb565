"""Free quota of an ingest's producer. An ingest without free quota is delayed, with a code."""

import uuid

from sqlalchemy import Connection, select

from cutout.ingest.ingest_errors import IngestError
from cutout.models import PRODUCERS
from cutout.producers.quotas import QuotaReachedError, give_back, room_of, take_quota

QUOTA_REACHED = "QUOTA_REACHED"
PRODUCER_SUSPENDED = "PRODUCER_SUSPENDED"


class IngestDelayedError(IngestError):
    """The ingest must be resumed later; `code` says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text, code=code)
        self.why = code


class QuotaRoom:
    """Free quota, in jobs, as last read into `left`; None without a quota.

    `left` is an estimate: `take` decides, in the transaction that stores the jobs.
    """

    def __init__(self, producer_id: uuid.UUID | None) -> None:
        self._producer_id = producer_id
        self.left: int | None = None

    def refresh(self, connection: Connection, wanted: int = 1) -> None:
        """Read the free quota. Raises IngestDelayedError if it is below `wanted` or the producer is
        suspended.

        Raises IngestError if `wanted` exceeds the whole quota.
        """
        if self._producer_id is None:
            return
        with connection.begin():
            quota = _quota_of(connection, self._producer_id)
            if quota is not None and wanted > quota:
                raise IngestError(
                    f"one record makes {wanted:,} jobs, and the quota is {quota:,} unfinished jobs; ask the"
                    " operator for a larger one, or for fewer forms of each picture"
                )
            self.left = room_of(connection, self._producer_id, max(wanted, 1))
        if self.left is not None and self.left < wanted:
            raise IngestDelayedError(QUOTA_REACHED, _quota_text(quota))

    def take(self, connection: Connection, count: int) -> None:
        """Take quota for jobs about to be inserted, in the caller's transaction, before the batch is locked.

        Raises IngestDelayedError.
        """
        if self._producer_id is None:
            return
        quota = _quota_of(connection, self._producer_id)
        try:
            take_quota(connection, self._producer_id, count)
        except QuotaReachedError:
            raise IngestDelayedError(QUOTA_REACHED, _quota_text(quota)) from None

    def give_back(self, connection: Connection, count: int) -> None:
        """Return quota taken for duplicates, in the transaction that took it."""
        if self._producer_id is not None and count:
            give_back(connection, self._producer_id, count)


def _quota_of(connection: Connection, producer_id: uuid.UUID) -> int | None:
    """Return the producer's quota, or None. Raises IngestDelayedError if the producer is suspended."""
    query = select(PRODUCERS.c.job_quota, PRODUCERS.c.suspended_at).where(PRODUCERS.c.id == producer_id)
    quota, suspended_at = connection.execute(query).one()
    if suspended_at is not None:
        raise IngestDelayedError(
            PRODUCER_SUSPENDED, "its producer is suspended; the ingest resumes when the producer does"
        )
    return int(quota) if quota is not None else None


def _quota_text(quota: int | None) -> str:
    return (
        f"the quota is {quota or 0:,} unfinished jobs and is used up; the ingest resumes when some have ended"
    )
