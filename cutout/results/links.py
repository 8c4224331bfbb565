"""Links to pictures in results files."""

from datetime import timedelta

from cutout.storage import Bucket, shown_as

LINK_HOURS = 24
# S3 signs no link for longer than a week.
MOST_LINK_HOURS = 168


class CutoutLinks:
    """Signed links to cutouts, all valid until `expires_at`."""

    def __init__(self, bucket: Bucket, hours: int = LINK_HOURS) -> None:
        """Begin the links' validity now. Raises StorageError if there are no credentials to sign with."""
        self._signer = bucket.signer(seconds=hours * 3600)
        self.expires_at = self._signer.signed_at + timedelta(hours=hours)

    def to(self, key: str, media_type: str | None = None) -> str:
        """The link to one cutout, which a browser displays."""
        return self._signer.link(key, parameters=shown_as(key, media_type))
