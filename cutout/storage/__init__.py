"""Storage: the bucket, its objects by key, signed links, and errors in plain words."""

from cutout.storage.bucket import Bucket, split_address
from cutout.storage.disposition import shown_as
from cutout.storage.listed_objects import ListedObject, PageEntry
from cutout.storage.storage_errors import (
    BucketMissingError,
    ObjectArchivedError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    StorageRefusedError,
)

__all__ = [
    "Bucket",
    "BucketMissingError",
    "ListedObject",
    "ObjectArchivedError",
    "ObjectMissingError",
    "ObjectTooLargeError",
    "PageEntry",
    "StorageError",
    "StorageRefusedError",
    "shown_as",
    "split_address",
]
