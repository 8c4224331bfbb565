"""The lifeboat as a bucket, preferably at another server than the first bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cutout.network import IN_MEMORY_BYTES, Blob
from cutout.settings import Settings
from cutout.storage import (
    Bucket,
    BucketMissingError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    StorageRefusedError,
)
from worker.lifeboat.lifeboat_errors import LifeboatError, LifeboatFullError, check_key, is_key
from worker.signed_objects import read_object

S3 = "s3://"


class BucketLifeboat:
    """Entries are objects under the prefix of CUTOUT_LIFEBOAT_DIR. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        name, _, prefix = (settings.lifeboat_dir or "").removeprefix(S3).partition("/")
        self._name = name
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._directory = Path(settings.spool_dir)
        self._bucket = Bucket(_lifeboat_settings(settings, name), connections=settings.worker_threads)
        self._found = False

    def __str__(self) -> str:
        return f"{S3}{self._name}/{self._prefix}"

    def save(self, key: str, data: Blob) -> None:
        """Save an entry, verified by the server's checksum; raises LifeboatError."""
        name = self._key(key)
        with self._plain_errors():
            self._find()
            self._bucket.put_cutout(data, key=name, media_type="application/octet-stream", metadata={})

    def read(self, key: str, *, max_bytes: int) -> Blob | None:
        """Read an entry's bytes; None without one. Raises LifeboatError, also above `max_bytes`."""
        name = self._key(key)
        with self._plain_errors():
            try:
                if not IN_MEMORY_BYTES < self._bucket.describe(name).size <= max_bytes:
                    return self._bucket.read(name, max_bytes=max_bytes)
                return read_object(self._bucket, name, self._directory)
            except ObjectMissingError:
                return None

    def remove(self, key: str) -> None:
        """Remove an entry, if it is there; raises LifeboatError."""
        name = self._key(key)
        with self._plain_errors():
            self._bucket.delete(name)

    def keys(self) -> list[str]:
        """The names of all entries; raises LifeboatError."""
        with self._plain_errors():
            names = [key.removeprefix(self._prefix) for key in self._bucket.keys(self._prefix)]
        return [name for name in names if is_key(name)]

    def close(self) -> None:
        """Close the connections."""
        self._bucket.close()

    def _find(self) -> None:
        # Some servers create a missing bucket at the first write, which would hide a misspelt name.
        if not self._found:
            self._bucket.require()
            self._found = True

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            raise LifeboatError(f"the lifeboat {self}: {_message(error, self._name)}") from None
        except OSError as error:
            raise LifeboatFullError(
                f"no room for a result of the lifeboat {self} in {self._directory} ({error.strerror}):"
                " make room there, or name a larger CUTOUT_SPOOL_DIR"
            ) from None


def _message(error: StorageError, name: str) -> str:
    # The error's own text names the settings of the first bucket.
    match error:
        case BucketMissingError():
            return f"there is no bucket {name!r}: create it or correct CUTOUT_LIFEBOAT_DIR"
        case StorageRefusedError():
            return "the server refused: check CUTOUT_LIFEBOAT_S3_ACCESS_KEY and its secret key"
        case ObjectTooLargeError():
            return f"{error}: it was not saved by cutout; move it away"
    return str(error)


def _lifeboat_settings(settings: Settings, name: str) -> Settings:
    own: dict[str, object] = {
        "s3_bucket": name,
        "s3_endpoint_url": settings.lifeboat_s3_endpoint_url or settings.s3_endpoint_url,
        "s3_public_endpoint_url": None,
    }
    if settings.lifeboat_s3_access_key:
        own["s3_access_key"] = settings.lifeboat_s3_access_key
        own["s3_secret_key"] = settings.lifeboat_s3_secret_key
    return settings.model_copy(update=own)
