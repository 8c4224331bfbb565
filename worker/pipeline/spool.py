"""Call records on disk while Postgres is unreachable, so that not even a kill -9 loses a paid result.

The files hold result URLs, which are secrets: their mode is 0600, and their content is never logged.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from cutout.models.database import A_DAY_S, is_away, kind_of
from cutout.models.database_errors import LOCK_TIMEOUT, sqlstate
from worker.pipeline.call_record import CallRecord, write_call

log = logging.getLogger(__name__)

SUFFIX = ".json"
BAD = ".bad"
FORMAT = TypeAdapter(CallRecord)


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """A record of this process that Postgres has not taken, since when (monotonic)."""

    record: CallRecord
    since: float
    on_disk: bool


@dataclass(slots=True)
class _Watched:
    """A record that is being written to Postgres."""

    record: CallRecord
    since: float = field(default_factory=time.monotonic)
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class SpoolUsage:
    """Files in a spool, their bytes, and the Unix time at which the oldest was written, 0 without any."""

    files: int
    size_bytes: int
    oldest: float


class Spool:
    """A directory of call records, made when first needed. All workers of a machine may share it.

    Safe to share between threads.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._foreign: set[str] = set()
        self._refused: dict[str, str] = {}
        self._own: dict[str, _Unwritten] = {}
        self._watched: dict[int, _Watched] = {}
        self._watching = threading.Lock()

    def watch(self, record: CallRecord) -> AbstractContextManager[None]:
        """Let `keep_slow` put the record on disk from now on, until the returned context ends.

        Write it to Postgres in that context. If it ends in an exception, the file stays.
        """
        self._watched.setdefault(record.attempt_id, _Watched(record))
        return self._until_written(record)

    @contextmanager
    def _until_written(self, record: CallRecord) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._watched.pop(record.attempt_id, None)
            raise
        # Under the lock: no file of it is written after this.
        with self._watching:
            watched = self._watched.pop(record.attempt_id, None)
        if watched is not None and watched.path is not None:
            self._remove(watched.path)

    def keep_slow(self, *, after_s: float) -> None:
        """Put each watched record on disk that has not been written for `after_s` seconds or longer."""
        latest = time.monotonic() - after_s
        for attempt_id, watched in list(self._watched.items()):
            if watched.since > latest or watched.path is not None:
                continue
            with self._watching:
                if attempt_id in self._watched:
                    self._keep_slow(watched)

    def _keep_slow(self, watched: _Watched) -> None:
        path = self._path(watched.record)
        try:
            self._write(path, FORMAT.dump_json(watched.record))
        except OSError as error:
            log.error("%s cannot be written (%s): an answer is kept in memory alone", path, error.strerror)  # noqa: TRY400
            # Not tried again: `keeping` will, and each error would be one more line.
            self._watched.pop(watched.record.attempt_id, None)
        else:
            watched.path = path

    @contextmanager
    def keeping(self, record: CallRecord) -> Iterator[None]:
        """Hold the record on disk while the context lasts, and after it if it ends in an exception.

        If the disk does not take it, it is held in memory as long as the process lives.
        """
        path = self._path(record)
        on_disk = True
        try:
            self._write(path, FORMAT.dump_json(record))
        except OSError as error:
            on_disk = False
            log.error("%s cannot be written (%s): an answer is kept in memory alone", path, error.strerror)  # noqa: TRY400
        self._own[path.name] = _Unwritten(record, time.monotonic(), on_disk)
        yield
        if on_disk:
            self._remove(path)
        self._own.pop(path.name, None)

    def unwritten(self) -> set[tuple[uuid.UUID, int]]:
        """Job and fence of each record of this process that Postgres has not taken: no new call is made.

        After a day, when the paid results have expired, they are left out.
        """
        oldest = time.monotonic() - A_DAY_S
        own = list(self._own.values())
        return {(one.record.job_id, one.record.fence) for one in own if one.since > oldest}

    def replay(self, database: Connection) -> None:
        """Write every record to Postgres that any worker left here. Two workers may do so at once.

        Raises the error of a Postgres that is unreachable: call it again then. A record whose rows others
        keep locked is skipped, and its error raised after the last one. A record that Postgres refuses stays
        for the next time, and only a file that cannot be read is moved aside.
        """
        locked: list[DBAPIError] = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            if path.name not in self._foreign:
                with _skip_locked(locked):
                    self._replay_file(database, path)
        for name, one in list(self._own.items()):
            if not one.on_disk:
                with _skip_locked(locked):
                    self._replay_from_memory(database, name, one.record)
            elif not (self._directory / name).exists():
                self._own.pop(name, None)
        if locked:
            raise locked[0]

    def usage(self) -> "SpoolUsage":
        """The files on disk now; none if the directory cannot be read."""
        times, size = [], 0
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                # Another worker may have written and removed it meanwhile.
                with suppress(FileNotFoundError):
                    if entry.name.endswith(SUFFIX):
                        found = entry.stat()
                        times.append(found.st_mtime)
                        size += found.st_size
        return SpoolUsage(len(times), size, min(times, default=0.0))

    def check(self) -> None:
        """Log an error if nothing can be written here: during an outage it would be too late."""
        nearest = next(path for path in (self._directory, *self._directory.parents) if path.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            log.error("%s cannot be written: answers that Postgres does not take are lost at a kill", nearest)

    def _replay_file(self, database: Connection, path: Path) -> None:
        try:
            record = FORMAT.validate_json(path.read_bytes())
        except FileNotFoundError:
            return  # another worker was quicker
        except OSError as error:
            log.error("%s cannot be read (%s)", path, error.strerror)  # noqa: TRY400
            return
        except ValueError as error:
            self._move_aside(path, error)
            return
        if self._is_written(database, path.name, record):
            self._remove(path)
            self._own.pop(path.name, None)

    def _replay_from_memory(self, database: Connection, name: str, record: CallRecord) -> None:
        if self._is_written(database, name, record):
            self._own.pop(name, None)

    def _is_written(self, database: Connection, name: str, record: CallRecord) -> bool:
        """Write the record; False if Postgres refuses it, or if it is of another database."""
        path = self._directory / name
        try:
            if not record.is_of(database):
                log.error("%s is of a call that this database does not know: left where it is", path)
                self._foreign.add(name)
                self._own.pop(name, None)
                return False
            write_call(database, record)
        except DBAPIError as error:
            if is_away(error):
                raise
            self._log_refusal(path, kind_of(error))
            return False
        log.info("the end of a call of job %s was written to Postgres from the spool", record.job_id)
        return True

    def _log_refusal(self, path: Path, kind: str) -> None:
        """Log a refusal once for each kind of error: it is tried again with each heartbeat."""
        if self._refused.get(path.name) != kind:
            self._refused[path.name] = kind
            log.error("Postgres does not take %s (%s): it stays and is tried again", path, kind)

    def _path(self, record: CallRecord) -> Path:
        return self._directory / f"{record.attempt_id}-{record.job_id}{SUFFIX}"

    def _write(self, path: Path, data: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self._sync_directory()

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s cannot be removed (%s); its record is in Postgres", path, error.strerror)  # noqa: TRY400

    def _move_aside(self, path: Path, error: Exception) -> None:
        # The error's own text may quote the file.
        log.error("%s cannot be used (%s) and is kept as %s%s", path, type(error).__name__, path.name, BAD)
        try:
            path.rename(path.with_name(path.name + BAD))
        except OSError as problem:
            log.error("%s cannot be renamed (%s)", path, problem.strerror)  # noqa: TRY400


@contextmanager
def _skip_locked(locked: list[DBAPIError]) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) != LOCK_TIMEOUT:
            raise
        locked.append(error)
