"""The second place: where paid results go that the bucket does not take in time.

An entry is the bytes of one job's paid result, under the job's id. CUTOUT_LIFEBOAT_DIR names the place.
"""

from pathlib import Path

from cutout.settings import Settings
from worker.lifeboat.bucket import S3, BucketLifeboat
from worker.lifeboat.directory import DirectoryLifeboat
from worker.lifeboat.lifeboat_errors import LifeboatError
from worker.lifeboat.sweep import sweep

__all__ = ["BucketLifeboat", "DirectoryLifeboat", "Lifeboat", "LifeboatError", "open_lifeboat", "sweep"]

Lifeboat = DirectoryLifeboat | BucketLifeboat


def open_lifeboat(settings: Settings) -> Lifeboat | None:
    """The lifeboat that the settings name; None if they name none. Its first use touches it first."""
    place = settings.lifeboat_dir
    if not place:
        return None
    return BucketLifeboat(settings) if place.startswith(S3) else DirectoryLifeboat(Path(place))
