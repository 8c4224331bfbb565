"""Text about the unexpected result of a job: a line and a link."""

from cli.console import out
from cutout.models import Job
from cutout.settings import read_settings
from cutout.storage import Bucket, StorageError
from cutout.storage.unexpected_bytes import Unexpected

LINK_SECONDS = 3600


def name_unexpected(job: Job) -> None:
    """Print what came for the job and was not what was bought, with a link good for an hour."""
    found = Unexpected.of(job.unexpected)
    if found is None:
        return
    size = f"{found.width}x{found.height} " if found.is_picture else ""
    word = "accepted" if found.accepted else "unexpected"
    out.print(
        f"  {word}: {found.key}  {size}{found.media_type}, {found.size_bytes:,} bytes: {found.reason}",
        markup=False,
    )
    bucket = Bucket(read_settings())
    try:
        link = bucket.presign_public(found.key, seconds=LINK_SECONDS, media_type=found.media_type)
        out.print(f"  {link}", markup=False)
    except StorageError as error:
        out.print(f"  no link to it: {error}", markup=False)
    finally:
        bucket.close()
