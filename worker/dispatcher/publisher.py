"""Publishes messages from its own thread, so a slow or unreachable Redis never blocks the tick."""

import logging
import queue
import threading
import time
from datetime import timedelta

from cutout.queue.reuse.serve_reused import Dispatched
from worker.dispatcher import metrics
from worker.dispatcher.messages import publish
from worker.task_kinds import TaskKind

log = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
POLL_EVERY_S = 0.05


class Publisher:
    """Sends in one thread. A failed send is repeated until the lease is over.

    A message that is sent twice, or too late, does no harm: its job is claimed once under its fence.
    """

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease
        self._queue: queue.SimpleQueue[tuple[TaskKind, Dispatched, float]] = queue.SimpleQueue()
        self._unsent: set[TaskKind] = set()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def idle(self, task_kind: TaskKind) -> bool:
        """Whether all messages of this kind are sent or given up. Until then no more may be sent."""
        return task_kind not in self._unsent

    def send(self, task_kind: TaskKind, dispatched: Dispatched) -> None:
        """Count the jobs as dispatched and queue their messages for the thread."""
        metrics.DISPATCHED.labels(task_kind).inc(len(dispatched))
        if dispatched:
            self._unsent.add(task_kind)
            self._queue.put((task_kind, dispatched, time.monotonic() + self._lease.total_seconds()))

    def flush(self, within_s: float) -> None:
        """Wait until all messages are sent, at most `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while self._unsent and time.monotonic() < deadline:
            time.sleep(POLL_EVERY_S)

    def _run(self) -> None:
        while True:
            task_kind, unsent, until = self._queue.get()
            unsent = unsent[self._publish(task_kind, unsent) :]
            while unsent and time.monotonic() < until:
                time.sleep(TRY_AGAIN_S)
                unsent = unsent[self._publish(task_kind, unsent) :]
            self._unsent.discard(task_kind)

    def _publish(self, task_kind: TaskKind, dispatched: Dispatched) -> int:
        try:
            return publish(task_kind, dispatched)
        except Exception:
            log.exception("unexpected error in publishing messages")
            return 0
