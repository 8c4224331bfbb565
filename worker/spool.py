"""Ends of calls on disk while Postgres is away, so that not even a kill -9 loses a paid result.

Files hold result URLs, which are secrets: theirs is mode 0600, and nothing of their content is logged.
"""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobs.database import is_away
from worker.call_end import CallEnd

log = logging.getLogger(__name__)

SUFFIX = ".json"
BAD = ".bad"
FORMAT = TypeAdapter(CallEnd)


class Spool:
    """One directory, made when first needed; all workers of a machine may share it. Safe between threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._foreign: set[str] = set()

    @contextmanager
    def keeping(self, end: CallEnd) -> Iterator[None]:
        """Hold `end` on disk while the context lasts, and beyond it if it ends in an exception.

        Where the disk does not take it, the context goes on with what is in memory.
        """
        path = self._directory / f"{end.attempt_id}-{end.job_id}{SUFFIX}"
        try:
            self._write(path, FORMAT.dump_json(end))
        except OSError as error:
            log.error("%s cannot be written (%s): an answer is kept in memory alone", path, error.strerror)  # noqa: TRY400
            yield
        else:
            yield
            self._remove(path)

    def replay(self, database: Connection) -> None:
        """Write down every end that was left here, by whichever worker. Two may do so at once.

        Raises the error of a Postgres that is away: repeat it then. What cannot be used is moved aside.
        """
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            if path.name not in self._foreign:
                self._replay_one(database, path)

    def check(self) -> None:
        """Say so in the log if nothing could be written here: an outage is too late to find out."""
        nearest = next(path for path in (self._directory, *self._directory.parents) if path.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            log.error("%s cannot be written: answers that Postgres does not take die at a kill", nearest)

    def _replay_one(self, database: Connection, path: Path) -> None:
        try:
            end = FORMAT.validate_json(path.read_bytes())
            if not end.is_of(database):
                log.error("%s is of a call that this database does not know: left where it is", path)
                self._foreign.add(path.name)
                return
            end.write(database)
        except FileNotFoundError:
            return  # another worker was quicker
        except OSError as error:
            log.error("%s cannot be read (%s)", path, error.strerror)  # noqa: TRY400
            return
        except (ValueError, DBAPIError) as error:
            if isinstance(error, DBAPIError) and is_away(error):
                raise
            self._move_aside(path, error)
            return
        log.info("the end of a call of job %s was written down from the spool", end.job_id)
        self._remove(path)

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
            log.error("%s cannot be removed (%s); what it holds is in Postgres", path, error.strerror)  # noqa: TRY400

    def _move_aside(self, path: Path, error: Exception) -> None:
        # The error's own text may quote the file.
        log.error("%s cannot be used (%s) and is kept as %s%s", path, type(error).__name__, path.name, BAD)
        try:
            path.rename(path.with_name(path.name + BAD))
        except OSError as problem:
            log.error("%s cannot be renamed (%s)", path, problem.strerror)  # noqa: TRY400
