"""Probe of the bucket, while calls are stopped for it."""

import logging

from cutout.storage import Bucket, StorageError

log = logging.getLogger(__name__)


def bucket_works(bucket: Bucket) -> bool:
    """Whether a small object can be stored in the bucket, read and deleted."""
    try:
        bucket.check()
    except StorageError as error:
        log.warning("the bucket does not take cutouts: %s", error)
        return False
    return True
