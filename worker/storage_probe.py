"""Whether what stopped the calls is over."""

import logging

from cutout.storage import Bucket, StorageError

log = logging.getLogger(__name__)


def bucket_works(bucket: Bucket) -> bool:
    """Whether the bucket takes a small object, gives it back and lets it be deleted."""
    try:
        bucket.check()
    except StorageError as error:
        log.warning("the bucket does not take cutouts: %s", error)
        return False
    return True
