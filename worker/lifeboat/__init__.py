"""The lifeboat: a second store for paid results that cannot be stored in the bucket in time.

An entry has the bytes of one job's paid result, under the job's id. CUTOUT_LIFEBOAT_DIR names the store.
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
    """Make the lifeboat that the settings name, if any. Nothing is opened before its first use."""
    store = settings.lifeboat_dir
    if not store:
        return None
    return BucketLifeboat(settings) if store.startswith(S3) else DirectoryLifeboat(Path(store))
