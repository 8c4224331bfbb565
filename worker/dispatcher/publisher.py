"""Messages go out beside the dispatcher's tick, so that a Redis away or frozen holds nothing else up."""

import logging
import queue
import threading
import time
from datetime import timedelta

from cutout.queue.reuse.serve_reused import HandedOut
from worker.dispatcher.messages import publish
from worker.task_kinds import Errand

log = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
LOOK_EVERY_S = 0.05


class Publisher:
    """Sends in one thread. What did not go out is tried again until its lease is over.

    A message sent twice, or too late, does no harm: its job is claimed once under its fence.
    """

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease
        self._parcels: queue.SimpleQueue[tuple[Errand, HandedOut, float]] = queue.SimpleQueue()
        self._under_way: set[Errand] = set()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def idle(self, errand: Errand) -> bool:
        """Whether all messages of that errand went out or were given up. While not, jobs are better off in
        line, and nothing may be sent.
        """
        return errand not in self._under_way

    def send(self, errand: Errand, handed_out: HandedOut) -> None:
        """Send a message for each job, soon."""
        if handed_out:
            self._under_way.add(errand)
            self._parcels.put((errand, handed_out, time.monotonic() + self._lease.total_seconds()))

    def flush(self, within_s: float) -> None:
        """Wait until all has gone out, no longer than `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while self._under_way and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)

    def _run(self) -> None:
        while True:
            errand, rest, until = self._parcels.get()
            rest = rest[self._publish(errand, rest) :]
            while rest and time.monotonic() < until:
                time.sleep(TRY_AGAIN_S)
                rest = rest[self._publish(errand, rest) :]
            self._under_way.discard(errand)

    def _publish(self, errand: Errand, handed_out: HandedOut) -> int:
        try:
            return publish(errand, handed_out)
        except Exception:
            log.exception("messages met an error that nobody expected")
            return 0
