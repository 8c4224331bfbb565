"""Duty: read the credits of the accounts, pause an account before its reserve is used, and resume it."""

import logging
import math
from collections.abc import Mapping

from sqlalchemy import Connection

from cutout.billing import accounts
from cutout.billing.credits_left import CreditsLeft
from cutout.queue.snapshot import QueueSnapshot
from cutout.settings import Settings
from worker.dispatcher.credit_poller import CreditPoller

log = logging.getLogger(__name__)


class AccountGuard:
    """Reads credits from time to time, those of a paused account more often. A reading costs no credit."""

    def __init__(self, settings: Settings, keys: Mapping[str, str]) -> None:
        """`keys` maps the names of the accounts to their API keys."""
        self._settings = settings
        self._pollers = {
            name: CreditPoller(settings.endpoint_url, key, settings.egress_to_endpoint)
            for name, key in keys.items()
        }
        self._credits_left = {name: CreditsLeft(name) for name in keys}

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Take finished readings, start those that are due, and check the reserve of the open accounts."""
        paused = self._pollers.keys() - snapshot.open_accounts
        due = accounts.due_for_probe(connection, list(paused)) if paused else []
        for name, poller in self._pollers.items():
            reading = poller.reading()
            if reading is not None:
                self._take_reading(connection, name, reading, paused=name in paused)
            if name in due or poller.older_than(self._settings.credits_every_seconds):
                poller.start()
            elif name not in paused and poller.due_for_check():
                self._keep_reserve(connection, name)

    def _take_reading(self, connection: Connection, name: str, reading: float, *, paused: bool) -> None:
        accounts.keep_credits(connection, name, reading if math.isfinite(reading) else None)
        enough = reading >= self._settings.credit_reserve + 1
        if paused and enough:
            accounts.resume(connection, name)
            log.info("the account %s works again", name)
        elif not paused:
            self._keep_reserve(connection, name)

    def _keep_reserve(self, connection: Connection, name: str) -> None:
        """Pause an account before the endpoint refuses it."""
        left, reserve = self._credits_left[name].look(connection), self._settings.credit_reserve
        if left is not None and left < reserve + 1:
            message = f"{left:,.0f} credits left of which {reserve:,} are reserved; buy credits"
            if accounts.pause(connection, name, code=accounts.BELOW_RESERVE, message=message):
                log.warning("the account %s is paused: %s", name, message)
