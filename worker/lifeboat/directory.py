"""The lifeboat as a directory, which all workers should share."""

import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cutout.network import IN_MEMORY_BYTES, Blob, mapped
from worker.lifeboat.lifeboat_errors import LifeboatError, LifeboatFullError, check_key, is_key

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
UNFINISHED = ".part"
# A save takes seconds; a file that is unfinished for so long was left by a process that died.
LEFT_BEHIND_S = 3600.0


class DirectoryLifeboat:
    """Entries are files of mode 0600 in a directory of mode 0700. Safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __str__(self) -> str:
        return str(self._directory)

    def save(self, key: str, data: Blob) -> None:
        """Save an entry, whole or not at all, so that it survives a power cut; raises LifeboatError."""
        path = self._path(key)
        unfinished = self._directory / f".{key}.{uuid.uuid4().hex}{UNFINISHED}"
        with self._plain_errors("written"):
            _make(self._directory)
            try:
                _write(unfinished, data)
                unfinished.replace(path)
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink()
                raise
            _sync(self._directory)

    def read(self, key: str, *, max_bytes: int) -> Blob | None:
        """Read an entry's bytes; None without one. Raises LifeboatError, also above `max_bytes`."""
        path = self._path(key)
        with self._plain_errors("read"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_size > max_bytes:
                    raise LifeboatError(
                        f"{path} is no file of at most {max_bytes} bytes: it was not saved by cutout;"
                        " move it away"
                    )
                return mapped(file) if found.st_size > IN_MEMORY_BYTES else file.read()

    def remove(self, key: str) -> None:
        """Remove an entry, if it is there; raises LifeboatError."""
        path = self._path(key)
        with self._plain_errors("cleared"):
            path.unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """The names of all entries; raises LifeboatError. Removes files left by saves that died."""
        with self._plain_errors("read"):
            if not self._directory.is_dir():
                return []
            names = [path.name for path in self._directory.iterdir()]
            for name in names:
                if name.startswith(".") and name.endswith(UNFINISHED):
                    _remove_if_left_behind(self._directory / name)
        return [name for name in names if is_key(name)]

    def close(self) -> None:
        """There is nothing to close."""

    def _path(self, key: str) -> Path:
        return self._directory / check_key(key)

    @contextmanager
    def _plain_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise LifeboatFullError(
                    f"the lifeboat {self._directory} is full ({error.strerror}): make room there,"
                    " or name a larger place in CUTOUT_LIFEBOAT_DIR"
                ) from None
            raise LifeboatError(
                f"the lifeboat {self._directory} cannot be {done} ({error.strerror}):"
                " see that it is mounted and belongs to the worker's user"
            ) from None


def _make(directory: Path) -> None:
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        _sync(directory.parent)


def _write(path: Path, data: Blob) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_left_behind(path: Path) -> None:
    with suppress(FileNotFoundError):
        if time.time() - path.lstat().st_mtime > LEFT_BEHIND_S:
            path.unlink()
