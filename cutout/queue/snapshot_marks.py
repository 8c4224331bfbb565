"""How far back the dispatcher's survey looks: beside an old snapshot, indexes keep what jobs left there."""

import time
from datetime import UTC, datetime, timedelta

# Whatever was missed, such as after a jump of Postgres' clock, is seen then.
ALL_EVERY_S = 10.0
# A statement writes its own `now()`, and commits a little later.
MARGIN = timedelta(seconds=1)
DUE_MARGIN = timedelta(seconds=10)
EVER = datetime.min.replace(tzinfo=UTC)


class Marks:
    """Before `outstanding` lies the `scheduled_at` of no job that is handed out or running, before `due` of
    none that is due.

    A job is handed out with the end of its lease, which a claim leaves as it is: nothing comes in before the
    first of them that is there now, or before the end of a lease that begins now. What rests
    is never due before the moment at which it was put to rest.
    """

    def __init__(self) -> None:
        self.outstanding = self.due = EVER
        self._all_at = 0.0

    def begin(self) -> None:
        """Before a survey: look at everything once in a while."""
        now = time.monotonic()
        if now >= self._all_at:
            self._all_at = now + ALL_EVERY_S
            self.outstanding = self.due = EVER

    def take(self, now: datetime, first: datetime | None, lease: timedelta, *, due: bool) -> None:
        """After it: Postgres' time, when the first outstanding job's lease ends, how long leases are, and
        whether any job was due.
        """
        self.outstanding = min(first or now + lease, now + lease) - MARGIN
        if not due:
            self.due = now - DUE_MARGIN
