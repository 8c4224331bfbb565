"""The producer: uploads pictures and enqueues their jobs while servers come and go."""

import io
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cutout.enums import Forms, ReturnForm
from cutout.outputs.options import OutputOptions
from cutout.queue.enqueue import InvalidJobError, NewJob, create_batch, enqueue_all
from cutout.storage import StorageError
from cutout.storage.uploads import upload_source
from tests.soak.pictures import picture
from tests.soak.system import System

JOBS_AT_ONCE = 50
UPLOADS_AT_ONCE = 4
PAUSE_S = 0.5
FORMS, PURCHASES = list(ReturnForm), list(Forms)

T = TypeVar("T")


class Producer:
    """Enqueues jobs with the external ids "0" to "jobs - 1" in one batch, in all return forms.

    Forms are derived for four jobs, bought for the next four, and so on.
    """

    def __init__(self, system: System, jobs: int) -> None:
        self._system = system
        self._jobs = jobs
        with Session(system.engine) as session, session.begin():
            self.batch_id: uuid.UUID = create_batch(session, "soak", producer_id=system.producer_id).id

    def run(self, stopping: threading.Event) -> None:
        """Enqueue them all, however often a server is away; sooner ended by `stopping`."""
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            for first in range(0, self._jobs, JOBS_AT_ONCE):
                numbers = range(first, min(first + JOBS_AT_ONCE, self._jobs))
                jobs = list(pool.map(lambda number: self._upload(number, stopping), numbers))
                if not stopping.is_set():
                    self._again_and_again(lambda jobs=jobs: self._enqueue(jobs), stopping)  # type: ignore[misc]

    def _upload(self, number: int, stopping: threading.Event) -> NewJob | None:
        body = io.BytesIO(picture(number))
        source = self._again_and_again(lambda: upload_source(self._system.bucket, body), stopping)
        outputs = OutputOptions(PURCHASES[number // len(FORMS) % len(PURCHASES)])
        form = FORMS[number % len(FORMS)]
        return NewJob(source, str(number), form, outputs=outputs) if source else None

    def _enqueue(self, jobs: list[NewJob | None]) -> None:
        try:
            with Session(self._system.engine) as session, session.begin():
                enqueue_all(session, [job for job in jobs if job], batch_id=self.batch_id)
        except InvalidJobError:
            # The commit before this one went well and only its answer was lost.
            return

    def _again_and_again(self, work: Callable[[], T], stopping: threading.Event) -> T | None:
        while not stopping.is_set():
            try:
                return work()
            except (StorageError, DBAPIError):
                time.sleep(PAUSE_S)
        return None
