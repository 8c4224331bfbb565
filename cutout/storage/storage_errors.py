"""Errors of the storage, translated from boto3's errors."""

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

MISSING_OBJECT = {"NoSuchKey", "404", "NotFound"}
MISSING_BUCKET = {"NoSuchBucket"}
ARCHIVED = "InvalidObjectState"
TOO_LARGE = {"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge"}
REFUSED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden"}


class StorageError(Exception):
    """An operation on the bucket failed, and may succeed later. `code` is the S3 server's code, if any."""

    code = ""


class ObjectMissingError(StorageError):
    """The object does not exist."""


class BucketMissingError(StorageError):
    """The bucket does not exist: CUTOUT_S3_BUCKET or the server is wrong."""


class StorageRefusedError(StorageError):
    """The credentials do not allow the operation."""


class ObjectArchivedError(StorageError):
    """The object must be restored before it can be read."""


class ObjectTooLargeError(StorageError):
    """The object is larger than the given limit, or it or its name is larger than the server accepts."""


class plain_errors:  # noqa: N801 - reads as a statement where it is used
    """Context that translates boto3's errors into StorageError, without request ids or addresses."""

    def __init__(self, bucket: str, key: str | None = None) -> None:
        self.bucket, self.key = bucket, key

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, S3UploadFailedError):
            # It names its cause only in its text.
            error = error.__context__ or error
        if isinstance(error, ClientError):
            translated = self._translate(error)
            translated.code = code_of(error)
            raise translated from None
        if isinstance(error, BotoCoreError | Boto3Error):
            raise StorageError(f"the S3 server did not answer: {type(error).__name__}") from None

    def _translate(self, error: ClientError) -> StorageError:
        code = code_of(error)
        if code in MISSING_BUCKET or (code in MISSING_OBJECT and self.key is None):
            return BucketMissingError(
                f"the bucket {self.bucket!r} does not exist: create it or fix CUTOUT_S3_BUCKET"
            )
        if code in MISSING_OBJECT:
            return ObjectMissingError(f"the bucket {self.bucket!r} has no object {self.key!r}")
        if code == ARCHIVED:
            return ObjectArchivedError(f"the object {self.key!r} is archived; restore it first")
        if code in TOO_LARGE:
            return ObjectTooLargeError(f"the S3 server answered {code} for the object {self.key!r}")
        if code in REFUSED:
            return StorageRefusedError(
                f"the S3 server refused ({code}): check CUTOUT_S3_ACCESS_KEY and CUTOUT_S3_SECRET_KEY"
            )
        return StorageError(f"the S3 server answered {code}")


def code_of(error: ClientError) -> str:
    """The S3 server's error code."""
    return str(error.response.get("Error", {}).get("Code", "without a code"))
