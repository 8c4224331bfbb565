"""A hundred changes a second or another number, as workers make them: a job is claimed, and succeeds."""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, text

A_SECOND = 100
CLAIM = text(
    "UPDATE jobs SET state = 'running', queue_state = NULL, worker_id = uuidv7(), fence = fence + 1"
    " WHERE id = :id"
)
SUCCEED = text(
    "UPDATE jobs SET state = 'succeeded', worker_id = NULL, finished_at = now(), key = 'cutouts/' || id,"
    " sha256 = sha256('x'), media_type = 'image/png', size_bytes = 1, width = 1, height = 1 WHERE id = :id"
)


class Changes:
    """Runs in a thread while entered; `committed` says when each job was first changed (perf_counter)."""

    def __init__(self, engine: Engine, jobs: Iterator[uuid.UUID], a_second: float = A_SECOND) -> None:
        self._a_second = a_second
        self._engine = engine
        self._jobs = jobs
        self._first: list[uuid.UUID] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.committed: dict[uuid.UUID, float] = {}

    def take(self, count: int) -> list[uuid.UUID]:
        """Jobs that are not changed until `change_first` is told to."""
        return [next(self._jobs) for _ in range(count)]

    def change_first(self, jobs: Sequence[uuid.UUID]) -> None:
        """Change these next, among the others."""
        self._first = list(jobs)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for began_at, job in zip(_ticks(self._a_second / 2), self._next(), strict=False):
                time.sleep(max(began_at - time.perf_counter(), 0))
                self._change(connection, job)
                if self._stop.is_set():
                    return

    def _change(self, connection: Connection, job: uuid.UUID) -> None:
        connection.execute(CLAIM, {"id": job})
        self.committed[job] = time.perf_counter()
        connection.execute(SUCCEED, {"id": job})

    def _next(self) -> Iterator[uuid.UUID]:
        while True:
            yield self._first.pop() if self._first else next(self._jobs)


def _ticks(a_second: float) -> Iterator[float]:
    began_at = time.perf_counter()
    number = 0
    while True:
        yield began_at + number / a_second
        number += 1
