"""Messages go out beside the dispatcher's tick, so that a Redis away or frozen holds nothing else up."""

import logging
import queue
import threading
import time
import uuid
from datetime import timedelta

from jobs.states import Step
from worker.handout import publish

log = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
LOOK_EVERY_S = 0.05

HandedOut = list[tuple[uuid.UUID, int]]


class Publisher:
    """Sends in one thread. What did not go out is tried again until its lease is over.

    A message sent twice, or too late, does no harm: its job is claimed once under its fence.
    """

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease
        self._parcels: queue.SimpleQueue[tuple[Step, HandedOut, float]] = queue.SimpleQueue()
        self._under_way: set[Step] = set()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def idle(self, step: Step) -> bool:
        """Whether all messages of that step went out or were given up. While not, jobs are better off in
        line, and nothing may be sent.
        """
        return step not in self._under_way

    def send(self, step: Step, handed_out: HandedOut) -> None:
        """Send a message for each job, soon."""
        if handed_out:
            self._under_way.add(step)
            self._parcels.put((step, handed_out, time.monotonic() + self._lease.total_seconds()))

    def flush(self, within_s: float) -> None:
        """Wait until all has gone out, no longer than `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while self._under_way and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)

    def _run(self) -> None:
        while True:
            step, rest, until = self._parcels.get()
            rest = rest[self._publish(step, rest) :]
            while rest and time.monotonic() < until:
                time.sleep(TRY_AGAIN_S)
                rest = rest[self._publish(step, rest) :]
            self._under_way.discard(step)

    def _publish(self, step: Step, handed_out: HandedOut) -> int:
        try:
            return publish(step, handed_out, lease=self._lease)
        except Exception:
            log.exception("messages met an error that nobody expected")
            return 0
