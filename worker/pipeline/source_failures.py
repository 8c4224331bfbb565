"""Outcomes of jobs whose storage does not give their source."""

from collections.abc import Callable

from cutout.queue.attempts.outcomes import Fail, Outcome, Snooze
from cutout.storage import StorageError

STORAGE_UNREACHABLE_SNOOZE_S = 15.0

ARCHIVED = ("SOURCE_ARCHIVED", "restore the object from the archive")
OTHER_REGION = ("SOURCE_IN_OTHER_REGION", "copy the object to a bucket in the region of CUTOUT_S3_REGION")
FORBIDDEN = ("SOURCE_FORBIDDEN", "allow the key in CUTOUT_S3_ACCESS_KEY to read the object")
KEY_UNUSABLE = (
    "SOURCE_KEY_UNUSABLE",
    "enable the KMS key of the object, and allow its use",
)

# Codes that S3 servers repeat until somebody changes the object or the bucket.
LASTING = {
    "InvalidObjectState": ARCHIVED,
    "PermanentRedirect": OTHER_REGION,
    "301": OTHER_REGION,
    "AuthorizationHeaderMalformed": OTHER_REGION,
    "IllegalLocationConstraintException": OTHER_REGION,
    "AccessDenied": FORBIDDEN,
    "AllAccessDisabled": FORBIDDEN,
    "403": FORBIDDEN,
    "Forbidden": FORBIDDEN,
    "KMS.DisabledException": KEY_UNUSABLE,
    "KMS.NotFoundException": KEY_UNUSABLE,
    "KMS.InvalidStateException": KEY_UNUSABLE,
    "KMS.KMSInvalidStateException": KEY_UNUSABLE,
}


def outcome_of_failure(error: StorageError, bucket_works: Callable[[], bool]) -> Outcome:
    """A failure with its own code for a lasting error; a snooze, for a day at most, for any other.

    If our own bucket does not work either, with the same keys, the error says nothing about this source.
    """
    lasting = LASTING.get(error.code)
    if lasting is None or not bucket_works():
        return Snooze("STORAGE_AWAY", str(error), STORAGE_UNREACHABLE_SNOOZE_S, of_source=True)
    code, remedy = lasting
    return Fail(code, f"the S3 server answers {error.code} to the source; {remedy}, then retry")
