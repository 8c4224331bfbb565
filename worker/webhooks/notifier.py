"""The notifier: sends webhooks from threads of its own, beside the dispatcher's tick."""

import logging
import threading
import time
from datetime import timedelta

from sqlalchemy import Connection

from cutout.models.database import connect, is_away
from cutout.queue.snapshot import QueueSnapshot
from cutout.settings import Settings
from cutout.webhooks.digests import announce_digests
from cutout.webhooks.endpoint_health import disable_failing
from cutout.webhooks.outbox import PORTION, forget, give_up_old
from cutout.webhooks.receivers import Search, forget_receivers
from worker.background import BackgroundTask
from worker.webhooks import metrics
from worker.webhooks.fair_queue import SENDERS, FairQueue
from worker.webhooks.sender import Sender

log = logging.getLogger(__name__)

SEARCH_EVERY_S = 0.5
POLL_EVERY_S = 0.05
PRUNE_EVERY_S = 60.0
WARN_EVERY_S = 300.0
# Statements are short, and no connection is held while the network is waited for.
CONNECTIONS = 4


class Notifier:
    """A thread that searches for receivers with due messages, and sender threads, which start each other.

    They use connections of their own, so the tick waits for none of them. If the process ends, the next
    leader sends unfinished messages again under the same id.
    """

    def __init__(self, settings: Settings) -> None:
        self._can_sign = settings.webhook_secret is not None
        self._kept = timedelta(days=settings.webhook_keep_days)
        self._engine = connect(
            settings.database_url.get_secret_value(),
            connections=CONNECTIONS,
            name="cutout-webhooks",
            autocommit=True,
        )
        self._queue = FairQueue()
        self._senders = [
            Sender(settings, self._engine, self._queue, self._start_senders) for _ in range(SENDERS)
        ]
        self._sending = [BackgroundTask("the sending of webhooks", sender.run) for sender in self._senders]
        self._searching = BackgroundTask("the search for due webhooks", self._search_safely)
        self._starting = threading.Lock()
        self._search = Search()
        self._search_at = self._prune_at = self._warn_at = 0.0

    def tick(self, _connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Start the search for due messages, twice a second."""
        now = time.monotonic()
        if now >= self._search_at and not self._searching.running:
            self._search_at = now + SEARCH_EVERY_S
            self._searching.start()

    def finish(self, within_s: float) -> None:
        """Begin no message, and wait for those under way: one whose end is not recorded is sent again."""
        self._queue.stop()
        ends_at = time.monotonic() + within_s
        while any(task.running for task in self._sending) and time.monotonic() < ends_at:
            time.sleep(POLL_EVERY_S)

    def _search_safely(self) -> bool:
        try:
            self._search_and_start()
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is unreachable; webhooks wait")
        return True

    def _search_and_start(self) -> None:
        with self._engine.connect() as connection:
            # Digests first, so that the search finds their messages.
            announce_digests(connection)
            self._queue.add(self._search.next(connection))
            given_up = give_up_old(connection)
            self._prune(connection)
        metrics.SENT.labels(metrics.GIVEN_UP).inc(given_up)
        if given_up:
            log.warning("%d webhooks are given up: they waited for a day", given_up)
        if self._can_sign:
            self._start_senders()
        elif self._queue:
            self._warn_that_it_cannot_sign()

    def _start_senders(self) -> None:
        """Start as many idle senders as may send now."""
        if self._starting.acquire(blocking=False):
            try:
                idle = (task for task in self._sending if not task.running)
                for task, _ in zip(idle, range(self._queue.wanted), strict=False):
                    task.start()
            finally:
                self._starting.release()

    def _prune(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._prune_at:
            return
        for endpoint_id in disable_failing(connection):
            log.warning("the webhook endpoint %s is disabled: it accepted nothing for five days", endpoint_id)
        forgotten = max(forget(connection, self._kept), forget_receivers(connection, self._kept))
        if forgotten < PORTION:
            self._prune_at = now + PRUNE_EVERY_S

    def _warn_that_it_cannot_sign(self) -> None:
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY_S
            log.warning("webhooks wait: CUTOUT_WEBHOOK_SECRET is not set for this dispatcher; set it")
