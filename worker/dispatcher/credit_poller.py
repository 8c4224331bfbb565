"""What an account has left, asked beside the dispatcher's tick; a question costs no credit."""

import logging
import math
import time

from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.credits import usable
from cutout.endpoint.endpoint_errors import EndpointError
from worker.background import Question

log = logging.getLogger(__name__)

# Between two readings the ledger says what is gone: looked at so often.
LOOK_EVERY_S = 1.0


class Credits:
    """The credits of one account: asked for in a thread, read when they came."""

    def __init__(self, endpoint_url: str, api_key: str) -> None:
        self._endpoint_url = endpoint_url
        self._api_key = api_key
        self._question = Question("the account's credits", self._ask)
        self._asked_at = -math.inf
        self._looked_at = -math.inf
        self._reading = 0.0

    def ask(self) -> None:
        """Ask, unless an answer is awaited already."""
        self._asked_at = time.monotonic()
        self._question.ask()

    def older_than(self, seconds: float) -> bool:
        """Whether the last question is so long ago, or was never put."""
        return time.monotonic() - self._asked_at >= seconds

    def worth_a_look(self) -> bool:
        """Whether a second has passed since this was last true."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        return True

    def reading(self) -> float | None:
        """The credits that an answer brought, once for each answer; infinity where it does not say."""
        return self._reading if self._question.answered_yes() else None

    def _ask(self) -> bool:
        with EndpointClient(self._endpoint_url, self._api_key) as client:
            try:
                answer = client.credits()
            except EndpointError as error:
                log.warning("the endpoint does not say what the account has left: %s", error)
                return False
        if isinstance(answer, Refused):
            log.warning("the account does not work: %s %s", answer.code, answer.message)
            return False
        balances = [pool.balance for pool in usable(answer)]
        self._reading = math.inf if None in balances or not balances else sum(filter(None, balances))
        return True
