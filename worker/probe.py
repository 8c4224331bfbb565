"""Whether the account can call: asked by its credits, which is free."""

import logging

from jobs.settings import Settings
from worker.endpoint.answer import Refused
from worker.endpoint.client import EndpointClient
from worker.endpoint.errors import EndpointError

log = logging.getLogger(__name__)


def account_works(settings: Settings) -> bool:
    """Whether the key is known and some pool has a credit left, or does not say."""
    with EndpointClient(settings.endpoint_url, settings.endpoint_api_key) as client:
        try:
            answer = client.credits()
        except EndpointError as error:
            log.warning("the endpoint does not say whether the account works: %s", error)
            return False
    if isinstance(answer, Refused):
        log.warning("the account does not work: %s %s", answer.code, answer.message)
        return False
    return any(pool.balance is None or pool.balance >= 1 for pool in answer)
