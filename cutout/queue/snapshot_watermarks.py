"""Lower bounds on the times that a snapshot of the queue reads, since indexes may keep many dead entries."""

import time
from datetime import UTC, datetime, timedelta

# A job that was missed, for example after a jump of Postgres' clock, is found then.
READ_ALL_EVERY_S = 10.0
# A statement writes its own `now()`, and commits a little later.
MARGIN = timedelta(seconds=1)
DUE_MARGIN = timedelta(seconds=10)
EVER = datetime.min.replace(tzinfo=UTC)


class SnapshotWatermarks:
    """No dispatched or running job has a `scheduled_at` before `outstanding`, no due job one before `due`.

    `scheduled_at` of a dispatched job is the end of its lease, and a claim leaves it unchanged. So new values
    are never before the smallest one there is now, or before the end of a lease that begins now. A delayed
    job is never due before the moment at which it was delayed.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Read everything at the next snapshot: another dispatcher may have led meanwhile."""
        self.outstanding = self.due = EVER
        self._read_all_at = 0.0

    def begin(self) -> None:
        """Prepare for a snapshot: every 10 s it reads everything."""
        now = time.monotonic()
        if now >= self._read_all_at:
            self._read_all_at = now + READ_ALL_EVERY_S
            self.outstanding = self.due = EVER

    def advance(self, now: datetime, first: datetime | None, lease: timedelta, *, due: bool) -> None:
        """Move the bounds after a snapshot.

        `now` is Postgres' time, `first` the end of the first outstanding job's lease, `lease` the length of
        leases, `due` whether any job was due.
        """
        self.outstanding = min(first or now + lease, now + lease) - MARGIN
        if not due:
            self.due = now - DUE_MARGIN
