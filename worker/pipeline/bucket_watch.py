"""A check whether this worker reaches the bucket, before the bucket is blamed, which all workers share."""

import logging
import threading
import time
import uuid
from collections.abc import Callable

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from cutout.enums import Step
from cutout.models.database import Database, PostgresAwayError
from cutout.queue.blocks import isolated_workers, storage_breaker
from cutout.queue.blocks.storage_breaker import BUCKET_IS_UNREACHABLE
from cutout.storage import ObjectMissingError, ObjectTooLargeError, StorageError
from worker.metrics import CUT_OFF
from worker.pipeline.intake import Intake
from worker.pipeline.store import Store

log = logging.getLogger(__name__)

FIRST_CHECK_S = 1.0
LONGEST_CHECK_S = 5.0
REPORT_WITHIN_S = 2.0
TRUSTED_FOR_S = 5.0


class BucketWatch:
    """A monitor of the bucket: after an error it tests the bucket in a thread. Safe to share between threads.

    During the test, and while the bucket cannot be reached, this worker begins no call. If it is cut off, it
    reports that to Postgres and takes no messages for calls, nor for copies if another worker can copy; it
    resumes by itself.
    """

    def __init__(self, works: Callable[[], bool], store: Store, intake: Intake) -> None:
        self._works = works
        self._store = store.within(REPORT_WITHIN_S)
        self._intake = intake
        self._suspicion = threading.Event()
        self._reason = ""
        self._was_unreachable_at_start = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bucket watch", daemon=True)
        self._worker_id: uuid.UUID | None = None
        self._worked_at = -TRUSTED_FOR_S

    @property
    def may_buy(self) -> bool:
        """Whether a cutout bought now can be stored by this worker, as far as is known."""
        return not self._suspicion.is_set()

    def start(self, worker_id: uuid.UUID, reason: str = "") -> None:
        """Start the thread. A `reason` says that the bucket cannot be reached now, and why."""
        self._worker_id = worker_id
        if reason:
            self._was_unreachable_at_start = True
            self._suspect(reason)
        self._thread.start()

    def suspect(self, error: StorageError) -> None:
        """Let the bucket be tested after this error; one about a single object says nothing of the bucket."""
        if not isinstance(error, ObjectMissingError | ObjectTooLargeError):
            self._suspect(str(error))

    def works(self) -> bool:
        """Whether the bucket takes a small object; an answer is valid for 5 s."""
        if time.monotonic() - self._worked_at < TRUSTED_FOR_S:
            return True
        works = self._works()
        if works:
            self._worked_at = time.monotonic()
        return works

    def stop(self) -> None:
        """Stop the thread, and wait a little for a statement that is under way."""
        self._ended.set()
        self._suspicion.set()
        if self._thread.is_alive():
            self._thread.join(REPORT_WITHIN_S)

    def _suspect(self, reason: str) -> None:
        if not self._suspicion.is_set():
            self._reason = reason
            self._suspicion.set()

    def _watch(self) -> None:
        while self._suspicion.wait() and not self._ended.is_set():
            try:
                if self._was_unreachable_at_start or not self._works():
                    self._was_unreachable_at_start = False
                    self._wait_cut_off()
            except Exception:
                if not self._ended.is_set():
                    log.exception("unexpected error in the watch over the bucket")
                self._ended.wait(FIRST_CHECK_S)
            if not self._ended.is_set():
                self._suspicion.clear()

    def _wait_cut_off(self) -> None:
        """Return once the bucket works again, or this worker ends."""
        log.error("this worker does not reach the bucket, and makes no calls until it does: %s", self._reason)
        CUT_OFF.set(1)
        self._intake.leave([Step.CALL])
        is_reported, pause_s = False, FIRST_CHECK_S
        while True:
            is_reported = is_reported or self._run(self._report_cut_off)
            if self._run(_another_can_copy):
                self._intake.leave([Step.CALL, Step.COPY])
            else:
                self._intake.leave([Step.CALL])
            if self._ended.wait(pause_s):
                return
            if self._works():
                break
            pause_s = min(pause_s * 2, LONGEST_CHECK_S)
        self._resume()

    def _resume(self) -> None:
        while not self._run(self._withdraw_report) and not self._ended.wait(FIRST_CHECK_S):
            pass
        self._intake.leave([])
        CUT_OFF.set(0)
        log.info("this worker reaches the bucket again")

    def _run(self, work: Callable[[Connection], bool]) -> bool:
        try:
            return self._store.run(work)
        except (PostgresAwayError, SQLAlchemyError) as error:
            if not self._ended.is_set():
                log.warning("the watch over the bucket cannot reach Postgres: %s", type(error).__name__)
            return False

    def _report_cut_off(self, database: Connection) -> bool:
        voices = isolated_workers.cut_off(database, self._own_id(), self._reason)
        if voices >= isolated_workers.REPORTS and storage_breaker.trip(database, self._reason):
            log.error("%d workers do not reach the bucket, so all calls stop: %s", voices, self._reason)
        return True

    def _withdraw_report(self, database: Connection) -> bool:
        isolated_workers.back(database, self._own_id())
        return True

    def _own_id(self) -> uuid.UUID:
        if self._worker_id is None:
            raise RuntimeError("the watch over the bucket was not started: call start()")
        return self._worker_id


def _another_can_copy(database: Database) -> bool:
    """Whether another worker can copy. If none can, results that expire must be saved in the lifeboat."""
    unreachable = database.scalar(select(BUCKET_IS_UNREACHABLE))
    return not unreachable and isolated_workers.others_reach_bucket(database)
