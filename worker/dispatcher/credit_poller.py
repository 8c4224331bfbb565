"""Poller of an account's credits at the endpoint, outside of the tick. A request costs no credit."""

import logging
import math
import time

from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.credits import usable
from cutout.endpoint.endpoint_errors import EndpointError
from worker.background import BackgroundTask

log = logging.getLogger(__name__)

# Between two readings the ledger says what was spent: checked so often.
CHECK_EVERY_S = 1.0


class CreditPoller:
    """Requests the credits of one account in a background task."""

    def __init__(self, endpoint_url: str, api_key: str, proxy: str | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._proxy = proxy
        self._api_key = api_key
        self._request = BackgroundTask("the account's credits", self._read)
        self._started_at = -math.inf
        self._checked_at = -math.inf
        self._reading = 0.0

    def start(self) -> None:
        """Start a request, unless one is running."""
        self._started_at = time.monotonic()
        self._request.start()

    def older_than(self, seconds: float) -> bool:
        """Whether the last request began at least so long ago, or never."""
        return time.monotonic() - self._started_at >= seconds

    def due_for_check(self) -> bool:
        """Whether a second has passed since this last returned true."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return False
        self._checked_at = now
        return True

    def reading(self) -> float | None:
        """The credits of a finished request, returned once; infinity if the response has no number."""
        return self._reading if self._request.take_success() else None

    def _read(self) -> bool:
        with EndpointClient(self._endpoint_url, self._api_key, proxy=self._proxy) as client:
            try:
                answer = client.credits()
            except EndpointError as error:
                log.warning("the account's credits cannot be read: %s", error)
                return False
        if isinstance(answer, Refused):
            log.warning("the account does not work: %s %s", answer.code, answer.message)
            return False
        balances = [pool.balance for pool in usable(answer)]
        self._reading = math.inf if None in balances or not balances else sum(filter(None, balances))
        return True
