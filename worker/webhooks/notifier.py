"""Sends what waits for producers' servers, beside the dispatcher's tick."""

import logging
import threading
import time
from datetime import timedelta

from sqlalchemy import Connection

from cutout.models.database import connect, is_away
from cutout.queue.snapshot import QueueSnapshot
from cutout.settings import Settings
from cutout.webhooks.digests import tell_digests
from cutout.webhooks.outbox import PORTION, forget, give_up_old
from cutout.webhooks.receivers import Search, forget_receivers
from worker.background import BackgroundTask
from worker.webhooks.fair_queue import SENDERS, FairQueue
from worker.webhooks.sender import Sender

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
LOOK_AGAIN_S = 0.05
PRUNE_EVERY_S = 60.0
SAY_EVERY_S = 300.0
# Statements are short, and the network is not waited for on a connection.
CONNECTIONS = 4


class Notifier:
    """A thread looks for receivers with something due; others, asked by it and by one another, send.

    They have connections of their own, so the tick waits for none of it. Should the process end, what was out
    is sent again by the next leader, under the same id.
    """

    def __init__(self, known: Settings) -> None:
        self._can_sign = known.webhook_secret is not None
        self._kept = timedelta(days=known.webhook_keep_days)
        self._engine = connect(
            known.database_url.get_secret_value(),
            connections=CONNECTIONS,
            name="cutout-webhooks",
            autocommit=True,
        )
        self._turns = FairQueue()
        self._hands = [Sender(known, self._engine, self._turns, self._ask_for_more) for _ in range(SENDERS)]
        self._senders = [BackgroundTask("the sending of webhooks", hand.run) for hand in self._hands]
        self._looking = BackgroundTask("the look for webhooks", self._look)
        self._asking = threading.Lock()
        self._search = Search()
        self._look_at = self._prune_at = self._say_at = 0.0

    def tick(self, _connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Begin to look, twice a second."""
        now = time.monotonic()
        if now >= self._look_at and not self._looking.running:
            self._look_at = now + LOOK_EVERY_S
            self._looking.start()

    def finish(self, within_s: float) -> None:
        """Take nothing more, and wait for what is out: what is not written down is sent a second time."""
        self._turns.stop()
        ends_at = time.monotonic() + within_s
        while any(sender.running for sender in self._senders) and time.monotonic() < ends_at:
            time.sleep(LOOK_AGAIN_S)

    def _look(self) -> bool:
        try:
            self._look_and_ask()
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is away; webhooks wait")
        return True

    def _look_and_ask(self) -> None:
        with self._engine.connect() as connection:
            # First, so that what it makes is found at this look.
            tell_digests(connection)
            self._turns.add(self._search.look(connection))
            given_up = give_up_old(connection)
            self._prune(connection)
        if given_up:
            log.warning("%d webhooks are given up: they waited for a day", given_up)
        if self._can_sign:
            self._ask_for_more()
        elif self._turns:
            self._say_that_it_cannot_sign()

    def _ask_for_more(self) -> None:
        """Set as many senders to work as may send now."""
        if self._asking.acquire(blocking=False):
            try:
                idle = (sender for sender in self._senders if not sender.running)
                for sender, _ in zip(idle, range(self._turns.wanted), strict=False):
                    sender.start()
            finally:
                self._asking.release()

    def _prune(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._prune_at:
            return
        forgotten = max(forget(connection, self._kept), forget_receivers(connection, self._kept))
        if forgotten < PORTION:
            self._prune_at = now + PRUNE_EVERY_S

    def _say_that_it_cannot_sign(self) -> None:
        now = time.monotonic()
        if now >= self._say_at:
            self._say_at = now + SAY_EVERY_S
            log.warning("webhooks wait, and CUTOUT_WEBHOOK_SECRET is not set for this dispatcher; set it")
