"""What is raised when the bucket does not do as asked: boto3's errors in plain words of our own."""

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

MISSING_OBJECT = {"NoSuchKey", "404", "NotFound"}
MISSING_BUCKET = {"NoSuchBucket"}
ARCHIVED = "InvalidObjectState"
TOO_LARGE = {"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge"}
REFUSED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden"}


class StorageError(Exception):
    """The bucket did not do as asked, and may later. `code` is the S3 server's own word, if it answered."""

    code = ""


class ObjectMissingError(StorageError):
    """There is no such object."""


class BucketMissingError(StorageError):
    """There is no such bucket: CUTOUT_S3_BUCKET or the server is wrong."""


class StorageRefusedError(StorageError):
    """The credentials do not allow it."""


class ObjectArchivedError(StorageError):
    """The object must be restored before it can be read."""


class ObjectTooLargeError(StorageError):
    """The object is larger than asked for, or it or its name is larger than the server takes."""


class plain_errors:  # noqa: N801 - reads as a statement where it is used
    """Turns boto3's errors into ours, without request ids or addresses."""

    def __init__(self, bucket: str, key: str | None = None) -> None:
        self.bucket, self.key = bucket, key

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, S3UploadFailedError):
            # It tells in its text alone what it found.
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
                f"the bucket {self.bucket!r} does not exist: create it or mend CUTOUT_S3_BUCKET"
            )
        if code in MISSING_OBJECT:
            return ObjectMissingError(f"the bucket {self.bucket!r} holds no object {self.key!r}")
        if code == ARCHIVED:
            return ObjectArchivedError(f"the object {self.key!r} is archived; restore it first")
        if code in TOO_LARGE:
            return ObjectTooLargeError(f"the S3 server answered {code} to the object {self.key!r}")
        if code in REFUSED:
            return StorageRefusedError(
                f"the S3 server refused ({code}): check CUTOUT_S3_ACCESS_KEY and CUTOUT_S3_SECRET_KEY"
            )
        return StorageError(f"the S3 server answered {code}")


def code_of(error: ClientError) -> str:
    """The S3 server's own word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", "without a code"))
