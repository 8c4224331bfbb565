"""Watches over paid results that are saved nowhere yet, beside what the workers report of them."""

import logging
import time

from sqlalchemy import Connection

from cutout.enums import Stop
from cutout.queue.attempts import unsaved_results
from cutout.queue.blocks import storage_breaker
from cutout.queue.dispatch import Survey
from worker.dispatcher.limit_poller import LimitWatch

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# One worker's threads: so many copies may be under way at once without anything being wrong.
ALWAYS_ALLOWED = 32
# More results than so many times the calls that are out stop new calls.
TIMES_THE_CALLS = 2
# Probes without a copy that could be tried: those that count as under way are stuck then.
PATIENCE = 3


class ResultsWatch:
    """Stops new calls while too many results wait; has one tried now and then while none can be fetched."""

    def __init__(self, limits: LimitWatch) -> None:
        self._limits = limits
        self._look_at = 0.0
        self._was_stopped = False
        self._in_vain = 0
        self.one_may_call = False
        """Whether one job is to call although results cannot be fetched: there is no other to try."""

    def look(self, connection: Connection, found: Survey) -> None:
        """Part of the tick."""
        now = time.monotonic()
        most_open = self._limits.most_open()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        stopped = Stop.RESULTS in found.stops
        if self._was_stopped and not stopped:
            log.info(
                "paid results can be fetched again; %d copies go on", unsaved_results.try_all(connection)
            )
        self._was_stopped = stopped
        self.one_may_call = self.one_may_call and stopped
        # Away, the bucket keeps them all, and its own breaker stops the calls.
        if not found.away:
            waiting = unsaved_results.count(connection)
            self._bound(connection, waiting, most_open, stopped=Stop.BACKLOG in found.stops)
            if stopped and storage_breaker.due_for_probe(connection, of=Stop.RESULTS):
                self._probe(connection, waiting)

    def _probe(self, connection: Connection, waiting: int) -> None:
        """Try a result that is paid for; where there is none, or none that moves, let one job buy another."""
        self._in_vain = 0 if unsaved_results.try_one(connection) else self._in_vain + 1
        self.one_may_call = self._in_vain > 0 and (waiting == 0 or self._in_vain >= PATIENCE)

    def _bound(self, connection: Connection, waiting: int, most_open: int, *, stopped: bool) -> None:
        allowed = max(TIMES_THE_CALLS * most_open, ALWAYS_ALLOWED)
        if waiting > allowed:
            words = f"{waiting:,} paid results are saved nowhere yet, and no more than {allowed:,} may be"
            if storage_breaker.trip(connection, words, of=Stop.BACKLOG):
                log.warning("calls stop until copies catch up: %s", words)
        elif stopped and waiting <= allowed / 2:
            storage_breaker.close(connection, of=Stop.BACKLOG)
            log.info("copies have caught up; calls go on")
