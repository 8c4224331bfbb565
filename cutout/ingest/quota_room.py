"""Room for an ingest's jobs in its producer's quota. While there is none the ingest rests, with a code."""

import uuid

from sqlalchemy import Connection, select

from cutout.ingest.ingest_errors import IngestError
from cutout.models import PRODUCERS
from cutout.producers.quotas import QuotaReachedError, give_back, room_of, take_quota

QUOTA_REACHED = "QUOTA_REACHED"
PRODUCER_SUSPENDED = "PRODUCER_SUSPENDED"


class IngestRestsError(IngestError):
    """The ingest rests, and goes on from where it is: `code` says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text, code=code)
        self.why = code


class QuotaRoom:
    """For how many more jobs there was room when it was last asked; `left` is None without a quota.

    What is asked here is a guess: `take` decides, in the transaction that stores the jobs.
    """

    def __init__(self, producer_id: uuid.UUID | None) -> None:
        self._producer_id = producer_id
        self.left: int | None = None

    def look(self, connection: Connection, wanted: int = 1) -> None:
        """Ask for it. Raises IngestRestsError if there is too little or the producer is suspended.

        Raises IngestError where there never will be.
        """
        if self._producer_id is None:
            return
        with connection.begin():
            quota = _limits(connection, self._producer_id)
            if quota is not None and wanted > quota:
                raise IngestError(
                    f"one record makes {wanted:,} jobs, and the quota is {quota:,} unfinished jobs; ask the"
                    " operator for a larger one, or for fewer forms of each picture"
                )
            self.left = room_of(connection, self._producer_id, max(wanted, 1))
        if self.left is not None and self.left < wanted:
            raise IngestRestsError(QUOTA_REACHED, _words(quota))

    def take(self, connection: Connection, count: int) -> None:
        """Count jobs that are about to be made, in the caller's transaction; before the batch is locked.

        Raises IngestRestsError.
        """
        if self._producer_id is None:
            return
        quota = _limits(connection, self._producer_id)
        try:
            take_quota(connection, self._producer_id, count)
        except QuotaReachedError:
            raise IngestRestsError(QUOTA_REACHED, _words(quota)) from None

    def give_back(self, connection: Connection, count: int) -> None:
        """Return what was taken for duplicates, in the transaction that took it."""
        if self._producer_id is not None and count:
            give_back(connection, self._producer_id, count)


def _limits(connection: Connection, producer_id: uuid.UUID) -> int | None:
    """The quota. Raises IngestRestsError if the producer is suspended."""
    its = select(PRODUCERS.c.job_quota, PRODUCERS.c.suspended_at).where(PRODUCERS.c.id == producer_id)
    quota, suspended_at = connection.execute(its).one()
    if suspended_at is not None:
        raise IngestRestsError(
            PRODUCER_SUSPENDED, "its producer is suspended; it goes on once that is resumed"
        )
    return int(quota) if quota is not None else None


def _words(quota: int | None) -> str:
    return f"the quota is {quota or 0:,} unfinished jobs, and as many are; it goes on once some have ended"
