"""Duty: stop calls while too many paid results are saved nowhere; probe while results cannot be fetched."""

import logging
import time

from sqlalchemy import Connection

from cutout.enums import Stop
from cutout.queue.attempts import unsaved_results
from cutout.queue.blocks import storage_breaker
from cutout.queue.snapshot import QueueSnapshot
from worker.dispatcher.limit_poller import LimitPoller

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
# One worker's threads: a normal number of copies at once.
ALWAYS_ALLOWED = 32
# More results than so many times the open calls stop new calls.
TIMES_THE_CALLS = 2
# After so many probes without a copy to try, the copies that count as unfinished are stuck.
PATIENCE = 3


class UnsavedResultsMonitor:
    """Opens and closes the breaker on a backlog of results; probes for the breaker on failed fetches."""

    def __init__(self, limits: LimitPoller) -> None:
        self._limits = limits
        self._check_at = 0.0
        self._was_stopped = False
        self._probes_in_vain = 0
        self.one_may_call = False
        """Whether one job may call although results cannot be fetched: there is no result left to try."""

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Check the number of unsaved results, and probe if results cannot be fetched."""
        now = time.monotonic()
        most_open = self._limits.most_open()
        if now < self._check_at:
            return
        self._check_at = now + CHECK_EVERY_S
        stopped = Stop.RESULTS in snapshot.stops
        if self._was_stopped and not stopped:
            copies = unsaved_results.try_all(connection)
            log.info("paid results can be fetched again; %d copies continue", copies)
        self._was_stopped = stopped
        self.one_may_call = self.one_may_call and stopped
        # While the bucket is down all results wait, and its own breaker stops the calls.
        if not snapshot.bucket_is_down:
            unsaved = unsaved_results.count(connection)
            self._bound(connection, unsaved, most_open, stopped=Stop.BACKLOG in snapshot.stops)
            if stopped and storage_breaker.due_for_probe(connection, of=Stop.RESULTS):
                self._probe(connection, unsaved)

    def _probe(self, connection: Connection, unsaved: int) -> None:
        """Try a paid result. If there is none, or none makes progress, let one job buy another."""
        self._probes_in_vain = 0 if unsaved_results.try_one(connection) else self._probes_in_vain + 1
        self.one_may_call = self._probes_in_vain > 0 and (unsaved == 0 or self._probes_in_vain >= PATIENCE)

    def _bound(self, connection: Connection, unsaved: int, most_open: int, *, stopped: bool) -> None:
        allowed = max(TIMES_THE_CALLS * most_open, ALWAYS_ALLOWED)
        if unsaved > allowed:
            reason = f"{unsaved:,} paid results are saved nowhere yet, and no more than {allowed:,} may be"
            if storage_breaker.trip(connection, reason, of=Stop.BACKLOG):
                log.warning("calls stop until copies catch up: %s", reason)
        elif stopped and unsaved <= allowed / 2:
            storage_breaker.close(connection, of=Stop.BACKLOG)
            log.info("copies have caught up; calls continue")
