"""Whether what stopped the calls is over: questions that cost no credit."""

import logging

from jobs.settings import Settings
from jobs.storage import Bucket, StorageError
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


def bucket_works(bucket: Bucket) -> bool:
    """Whether the bucket takes a small object, gives it back and lets it be deleted."""
    try:
        bucket.check()
    except StorageError as error:
        log.warning("the bucket does not take cutouts: %s", error)
        return False
    return True
