"""Links to cutouts that go into a file."""

from datetime import UTC, datetime, timedelta

from jobs.storage import Bucket

LINK_HOURS = 24
# S3 signs no link for longer than a week.
MOST_LINK_HOURS = 168


class CutoutLinks:
    """Links for whoever holds the file, all good until `expires_at` at the least."""

    def __init__(self, bucket: Bucket, hours: int = LINK_HOURS) -> None:
        """Raises StorageError if the settings have no credentials to sign with."""
        self._bucket = bucket
        self._seconds = hours * 3600
        self.expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
        self.to("x")

    def to(self, key: str) -> str:
        return self._bucket.presign(key, seconds=self._seconds, public=True)
