"""The bucket, as everyone here sees it: objects by their keys, errors in plain words, links to both."""

from jobs.storage.addresses import split_address
from jobs.storage.bucket import Bucket, ListedObject
from jobs.storage.errors import (
    BucketMissingError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    StorageRefusedError,
)
from jobs.storage.shown import shown_as

__all__ = [
    "Bucket",
    "BucketMissingError",
    "ListedObject",
    "ObjectMissingError",
    "ObjectTooLargeError",
    "StorageError",
    "StorageRefusedError",
    "shown_as",
    "split_address",
]
